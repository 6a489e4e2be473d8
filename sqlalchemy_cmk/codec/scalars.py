"""Codecs of single values: text, bytes, Enums, numbers, dates and times.

Where a value travels in MessagePack, its function returns *packed*: a check that turns the value into what
MessagePack holds, what restores it, and the longest plaintext in bytes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Hashable
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import partial
from numbers import Integral, Real
from typing import Any

import msgspec
from sqlalchemy import types
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.codec.base import Codec, Convert, Packed, expect, kind_of, wrong
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue

NEUTRAL = DefaultDialect()
_ROUNDING = Context(MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)
# str(Decimal) asks the thread's context whether the exponent is an "E" or an "e".
_decimal_text = Context(capitals=1).to_sci_string


def text_codec(declared: types.String) -> Codec:
    """Return the codec of a text type: UTF-8."""
    length = declared.length

    def encode(value: Any) -> bytes:
        if not isinstance(value, str):
            raise wrong("str", value)
        if length is not None and len(value) > length:
            raise InvalidValue(f"a text of {len(value)} characters is longer than the {length} allowed")
        return str.encode(value)

    return Codec(encode, bytes.decode, None if length is None else 4 * length, text=True)


def bytes_check(length: int | None) -> Convert:
    """Return the encoder of a binary type: the bytes themselves."""

    def encode(value: Any) -> bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise wrong("bytes", value)
        raw = bytes(value)
        if length is not None and len(raw) > length:
            raise InvalidValue(f"{len(raw)} bytes are more than the {length} allowed")
        return raw

    return encode


def enum_codec(declared: types.Enum) -> Codec:
    """Return the codec of an Enum: the member's name, as SQLAlchemy stores it."""
    bind: Convert | None = declared.bind_processor(NEUTRAL)  # type: ignore[no-untyped-call,unused-ignore]
    result: Convert | None = declared.result_processor(NEUTRAL, None)  # type: ignore[no-untyped-call,unused-ignore]
    members = frozenset(declared.enums)
    if not members:
        raise ConfigurationError("EncryptedType cannot seal values of an Enum without members: give it some")

    def encode(value: Any) -> bytes:
        name = bind(value) if bind else value
        if name not in members:
            raise wrong("a member of the declared Enum", value)
        return str.encode(name)

    def decode(raw: bytes) -> Any:
        name = raw.decode()
        return result(name) if result else name

    return Codec(encode, decode, 4 * max(map(len, members)))


def uuid_for(declared: types.Uuid[Any]) -> Convert:
    """Return the check of a UUID type."""

    def check(value: Any) -> str:
        if declared.as_uuid and not isinstance(value, uuid.UUID):
            raise wrong("UUID", value)
        if not declared.as_uuid and not isinstance(value, str):
            raise wrong("str", value)
        return str(uuid.UUID(str(value)))

    return check


def restored_uuid(declared: types.Uuid[Any]) -> Convert:
    """Return what restores a UUID type's values."""
    as_uuid = declared.as_uuid

    def restore(value: Any) -> uuid.UUID | str:
        found = uuid.UUID(expect(str, value))
        return found if as_uuid else str(found)

    return restore


def numeric(declared: Any, canonical: bool) -> Packed:
    """Return packed for a Numeric or Float type; a declared scale rounds, as it does in databases."""
    if not declared.asdecimal:
        return (lambda value: _float(value) + 0.0) if canonical else _float, partial(expect, float), 9

    def check(value: Any) -> str:
        number = _decimal(value)
        if number.is_snan():
            raise InvalidValue("a signalling NaN cannot be stored")
        if number.is_finite():
            number = _rounded(number, declared.precision, declared.scale)
            if canonical:
                number = number.normalize(_exact(number)) if number else Decimal(0)
        return _decimal_text(number)

    return check, lambda value: Decimal(expect(str, value)), None


def _rounded(number: Decimal, precision: int | None, scale: int | None) -> Decimal:
    """Return what a NUMERIC of a precision and a scale keeps of a number: databases round half up.

    Raises:
        InvalidValue: the number has too many digits before the point.
    """
    if precision is None:
        return number
    places = precision - (scale or 0)
    decimals = -int(number.as_tuple().exponent)
    if scale is not None and decimals > scale and number.adjusted() < places:
        number = number.quantize(Decimal((0, (1,), -scale)), ROUND_HALF_UP, _ROUNDING)
    if number and number.adjusted() >= places:
        raise InvalidValue(f"the number has more than the {places} integer digits allowed")
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong("Decimal", value)
    # The shortest digits that name a float, as databases take them: 0.1, not 0.1000000000000000055.
    return Decimal(int(value)) if isinstance(value, Integral) else Decimal(float.__repr__(float(value)))


def _exact(number: Decimal) -> Context:
    """Return a context in which a Decimal loses nothing, or raises."""
    digits = max(1, len(number.as_tuple().digits))
    return Context(digits, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, traps=[Inexact, InvalidOperation, Overflow])


def moment(declared: types.DateTime | types.Time, canonical: bool) -> Convert:
    """Return the check of a datetime or time type: ISO 8601 text."""
    kind = dt.datetime if isinstance(declared, types.DateTime) else dt.time
    # A subclass may write itself in another form.
    written: Convert = kind.isoformat
    # What a database makes of a date is midnight; of which time zone, it says for itself.
    takes_dates = isinstance(declared, types.DateTime) and not declared.timezone

    def check(value: Any) -> str:
        if takes_dates and isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)
        if not isinstance(value, kind) or _is_missing(value):
            raise wrong(kind.__name__, value)
        offset = value.utcoffset()
        if canonical and isinstance(value, dt.datetime) and offset is not None:
            return str(written(value.astimezone(dt.UTC)))
        # fromisoformat takes an offset below a second for UTC.
        if offset is not None and offset.microseconds:
            raise InvalidValue("the UTC offset has fractions of a second, which cannot be stored")
        return str(written(value))

    return check


def _is_missing(value: Any) -> bool:
    """Return whether a moment is none: pandas' NaT is a datetime, of the year 1, that is equal to nothing."""
    return bool(value != value)


def from_iso(kind: type[dt.datetime] | type[dt.date] | type[dt.time]) -> Convert:
    """Return what restores a date or a time from ISO 8601 text."""
    read: Convert = kind.fromisoformat
    return lambda value: read(expect(str, value))


def _integer(value: Any) -> int:
    if not isinstance(value, Integral):
        raise wrong("int", value)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise InvalidValue("the integer has more than 64 bits")
    return number


def _boolean(value: Any) -> bool:
    # As SQLAlchemy does: 1, 0 and numpy's bool are equal to Python's, and have their hashes.
    if isinstance(value, Hashable) and value in _BOOLEANS:
        return bool(value)
    raise wrong("bool", value)


def _date(value: Any) -> str:
    if not isinstance(value, dt.date) or _is_missing(value):
        raise wrong("date", value)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        raise InvalidValue(f"expected date, not {kind_of(value)} with a time zone")
    return dt.date(value.year, value.month, value.day).isoformat()


def _interval(value: Any) -> dt.timedelta:
    if not isinstance(value, dt.timedelta):
        raise wrong("timedelta", value)
    return dt.timedelta(value.days, value.seconds, value.microseconds)


def _restore_interval(value: Any) -> dt.timedelta:
    return msgspec.convert(value, dt.timedelta)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise wrong("float", value)
    return float(value)


_BOOLEANS = frozenset((False, True))
SIMPLE: tuple[tuple[type[TypeEngine[Any]], Packed], ...] = (
    (types.Boolean, (_boolean, partial(expect, bool), 1)),
    (types.Integer, (_integer, partial(expect, int), 9)),
    (types.Date, (_date, from_iso(dt.date), 12)),
    (types.Interval, (_interval, _restore_interval, 40)),
)
