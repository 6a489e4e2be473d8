"""Primary keys of rows: as text, and in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, and_, or_

Key = tuple[Any, ...]


def key_as_text(key: Sequence[Any]) -> str:
    """Return a primary key as text."""
    return msgspec.json.encode(tuple(key), enc_hook=str).decode()


def beyond(columns: Sequence[Column[Any]], key: Key) -> ColumnElement[bool]:
    """Return ``(a, b) > (x, y)``, written so that every database finds it by the key's index."""
    first, value = columns[0], key[0]
    further: ColumnElement[bool] = first > value
    if len(columns) > 1:
        rest = and_(first == value, beyond(columns[1:], key[1:]))
        return and_(first >= value, or_(further, rest))
    return further
