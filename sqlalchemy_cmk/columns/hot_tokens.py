"""Keeps what makes tokens for the DEKs that are used most. See :class:`HotTokens`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy_cmk.columns.indexes import Tokens
from sqlalchemy_cmk.keys.model import OpenedDek

# What one keeps of n-grams may take 200 KiB.
MAX_HOT = 256


class HotTokens:
    """What makes the tokens of one index, by the DEK; threads may share it.

    It leaves memory with its DEK. That a DEK may be used is checked by those who ask for it, each time.

    Args:
        make: makes it again.
    """

    __slots__ = ("_kept", "_make")

    def __init__(self, make: Callable[[OpenedDek], Tokens]) -> None:
        self._make = make
        self._kept: dict[bytes, tuple[weakref.ref[OpenedDek], Tokens]] = {}

    def under(self, dek: OpenedDek) -> Tokens:
        """Return what makes tokens under a DEK."""
        kept = self._kept.get(dek.id)
        if kept is None or kept[0]() is not dek:
            if len(self._kept) >= MAX_HOT:
                self._kept.clear()
            forget = partial(_pop, self._kept, dek.id)
            kept = self._kept[dek.id] = weakref.ref(dek, forget), self._make(dek)
        return kept[1]


def _pop(kept: dict[bytes, Any], dek_id: bytes, gone: object) -> None:
    # Another thread may have put what belongs to the DEK as it was opened again.
    if kept.get(dek_id, (None,))[0] is gone:
        kept.pop(dek_id, None)
