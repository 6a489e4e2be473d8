"""Long lists in parts, as statements with a limited number of parameters take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_parts(items: Iterable[T], longest: int) -> Iterator[list[T]]:
    """Return items in lists of at most so many."""
    left = iter(items)
    while part := list(islice(left, longest)):
        yield part
