"""Codecs of single values: text, bytes, Enums, numbers, dates and times.

Where a value travels in MessagePack, its function returns *packed*: a check that turns the value into what
MessagePack holds, what restores it, and the longest plaintext in bytes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import types
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.codec.base import Codec, Convert, Packed, expect, wrong
from sqlalchemy_cmk.errors import InvalidValue

NEUTRAL = DefaultDialect()
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
        return value.encode()

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

    def encode(value: Any) -> bytes:
        name = bind(value) if bind else value
        if name not in members:
            raise InvalidValue("the value is not a member of the declared Enum")
        return str(name).encode()

    def decode(raw: bytes) -> Any:
        name = raw.decode()
        return result(name) if result else name

    return Codec(encode, decode, 4 * max(map(len, members), default=0))


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
    """Return packed for a Numeric or Float type."""
    if not declared.asdecimal:
        return (lambda value: _float(value) + 0.0) if canonical else _float, partial(expect, float), 9
    precision, scale = declared.precision, declared.scale or 0

    def check(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise wrong("Decimal", value)
        number = Decimal(float.__repr__(value) if isinstance(value, float) else value)
        if number.is_snan():
            raise InvalidValue("a signalling NaN cannot be stored")
        if precision is not None and number.is_finite() and number.adjusted() >= precision - scale and number:
            raise InvalidValue(f"the number has more than the {precision - scale} integer digits allowed")
        if canonical and number.is_finite():
            number = number.normalize(_exact(number)) if number else Decimal(0)
        return _decimal_text(number)

    return check, lambda value: Decimal(expect(str, value)), None


def _exact(number: Decimal) -> Context:
    """Return a context in which a Decimal loses nothing, or raises."""
    digits = max(1, len(number.as_tuple().digits))
    return Context(digits, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, traps=[Inexact, InvalidOperation, Overflow])


def moment(kind: type[dt.datetime] | type[dt.time], canonical: bool) -> Convert:
    """Return the check of a datetime or time type: ISO 8601 text."""
    # A subclass may write itself in another form.
    written: Convert = kind.isoformat

    def check(value: Any) -> str:
        if not isinstance(value, kind):
            raise wrong(kind.__name__, value)
        offset = value.utcoffset()
        if canonical and isinstance(value, dt.datetime) and offset is not None:
            return str(written(value.astimezone(dt.UTC)))
        # fromisoformat takes an offset below a second for UTC.
        if offset is not None and offset.microseconds:
            raise InvalidValue("the UTC offset has fractions of a second, which cannot be stored")
        return str(written(value))

    return check


def from_iso(kind: type[dt.datetime] | type[dt.date] | type[dt.time]) -> Convert:
    """Return what restores a date or a time from ISO 8601 text."""
    read: Convert = kind.fromisoformat
    return lambda value: read(expect(str, value))


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise wrong("int", value)
    if not -(2**63) <= value < 2**63:
        raise InvalidValue("the integer has more than 64 bits")
    return int(value)


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    raise wrong("bool", value)


def _date(value: Any) -> str:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise wrong("date", value)
    return dt.date.isoformat(value)


def _interval(value: Any) -> dt.timedelta:
    if not isinstance(value, dt.timedelta):
        raise wrong("timedelta", value)
    return value


def _restore_interval(value: Any) -> dt.timedelta:
    return msgspec.convert(value, dt.timedelta)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong("float", value)
    return float(value)


SIMPLE: tuple[tuple[type[TypeEngine[Any]], Packed], ...] = (
    (types.Boolean, (_boolean, partial(expect, bool), 1)),
    (types.Integer, (_integer, partial(expect, int), 9)),
    (types.Date, (_date, from_iso(dt.date), 12)),
    (types.Interval, (_interval, _restore_interval, 40)),
)
