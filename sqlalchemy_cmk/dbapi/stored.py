"""What a driver is given for a sealed value or a token that the row writer has made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Dialect, Null

from sqlalchemy_cmk.columns.presealed import is_presealed, strip, strip_all
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import UnsupportedOperation


def all_stored(column: Column[Any], values: Sequence[Any], dialect: Dialect) -> list[Any]:
    """Return many sealed values, or tokens, as the driver takes them; raises as :func:`stored` does."""
    grams = isinstance(column.type, TokenType) and column.type.index.stores_grams
    found = None if grams else strip_all(values)
    return found or [stored(column, value, dialect) for value in values]


def stored(column: Column[Any], value: Any, dialect: Dialect) -> Any:
    """Return a sealed value, or the tokens of one, as the driver takes them.

    Raises:
        UnsupportedOperation: it is neither: it did not pass the row writer.
    """
    if value is None or isinstance(value, Null):
        return None
    if not is_presealed(value):
        raise UnsupportedOperation(f"{column}: a value was not sealed, and was not sent")
    type_ = column.type
    if isinstance(type_, TokenType) and type_.index.stores_grams:
        return database_of(dialect).bind_grams(strip(value))
    return strip(value)
