"""Values that are sealed already, on their way from the hooks to the bind processor.

They are plain bytes that begin with a mark, random and secret to this process, so that no value of a user
can be taken for one. Not a class of their own: the garbage collector tracks each object of a subclass of
``bytes``, and twenty thousand of them in one flush cost a full collection.
"""

from __future__ import annotations

from os import urandom
from typing import Any, TypeGuard

MARK_BYTES = 16

# Shared with forked children, to whom it is no more known than here.
MARK = urandom(MARK_BYTES)


def marked(sealed: bytes) -> bytes:
    """Return a sealed value with the mark."""
    return MARK + sealed


def is_marked(value: Any) -> TypeGuard[bytes]:
    """Tell whether a value is a sealed one with the mark."""
    return type(value) is bytes and value.startswith(MARK)


def unmarked(value: bytes) -> bytes:
    """Return what the driver is to write."""
    return value[MARK_BYTES:]
