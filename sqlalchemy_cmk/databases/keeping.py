"""Which values of a column a database gives back as they were written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import BINARY, CHAR, DateTime, Dialect, Enum, Numeric, Time
from sqlalchemy.types import TypeDecorator, TypeEngine

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases import sqlalchemy_private as private

Keeps = Callable[[Any], bool]

MICROSECOND_DIGITS = 6


def keeps(type_: TypeEngine[Any], dialect: Dialect) -> Keeps | None:
    """Return what says whether a value is read back equal; ``None`` if all values are that fit the type.

    Args:
        type_: the type of a column.
        dialect: the database's.
    """
    if isinstance(type_, TypeDecorator):
        inner = keeps(type_.load_dialect_impl(dialect), dialect)
        if inner is None or type(type_).process_bind_param is TypeDecorator.process_bind_param:
            return inner
        return lambda value: inner(type_.process_bind_param(value, dialect))
    stored = private.variant_of(type_, dialect)
    if isinstance(stored, DateTime | Time):
        return _moments(stored, dialect)
    if isinstance(stored, Numeric):
        return _decimals(stored, dialect)
    for padded in (CHAR, BINARY):
        if isinstance(stored, padded) and not isinstance(type_, padded | Enum):
            length = stored.length or 1
            return lambda value: len(value) == length and value[-1:] not in (" ", b"\0")
    return None


def _moments(stored: Any, dialect: Dialect) -> Keeps:
    database = database_of(dialect)
    aware = bool(stored.timezone) and database.keeps_time_zones
    digits = getattr(stored, "fsp", None)
    if digits is None:
        digits = getattr(stored, "precision", None)
    step = 10 ** (MICROSECOND_DIGITS - (database.second_digits if digits is None else digits))

    def kept(value: dt.datetime | dt.time) -> bool:
        return value.microsecond % step == 0 and (value.utcoffset() is not None) is aware

    return kept


def _decimals(stored: Any, dialect: Dialect) -> Keeps | None:
    database = database_of(dialect)
    if stored.precision is None and stored.scale is None and database.has_unlimited_decimals:
        return None
    scale, most = stored.scale or 0, database.decimal_digits

    def kept(value: Any) -> bool:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        if not number.is_finite():
            return False
        number = number.normalize(Context(max(1, len(number.as_tuple().digits))))
        behind = max(0, -int(number.as_tuple().exponent))
        before = max(0, number.adjusted()) + 1
        return behind <= scale and (most is None or before + behind <= most)

    return kept
