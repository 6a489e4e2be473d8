"""Values on their way to the driver: sealed already, or to be sealed once their statement is known.

Presealed values are plain bytes that begin with a prefix, random and secret to this process, so that no value
of a user can be taken for one. Not a class of their own: the garbage collector tracks each object of a
subclass of ``bytes``, and twenty thousand of them in one flush cost a full collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import urandom
from typing import Any, TypeGuard

PREFIX_BYTES = 16

# Shared with forked children, to whom it is no more known than here.
PREFIX = urandom(PREFIX_BYTES)


def is_presealed(value: Any) -> TypeGuard[bytes]:
    """Return whether a value is a sealed one with the prefix."""
    return type(value) is bytes and value.startswith(PREFIX)


def strip(value: bytes) -> bytes:
    """Return what the driver writes."""
    return value[PREFIX_BYTES:]


def strip_all(values: Sequence[Any]) -> list[bytes] | None:
    """Return what the driver writes for many values; ``None`` if one is not a presealed one."""
    if set(map(type, values)) != {bytes}:
        return None
    found = [value[PREFIX_BYTES:] for value in values if value.startswith(PREFIX)]
    return found if len(found) == len(values) else None


class Unsealed:
    """A value of a criterion that the bind processor hands on: no driver takes it, and it shows nothing.

    Attributes:
        column: the sealed column whose value it is.
        value: the Python value.
    """

    __slots__ = ("column", "value")

    def __init__(self, column: Any, value: Any) -> None:
        self.column = column
        self.value = value

    def __repr__(self) -> str:
        return "(a value that is not sealed yet)"
