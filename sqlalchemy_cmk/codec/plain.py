"""Reading what a column held before it was sealed: the plain forms that a database leaves in bytes.

PostgreSQL leaves the text of ``convert_to(column::text, 'UTF8')``, MariaDB that of ``MODIFY`` to a binary
type, SQLite the value as it was. Each form is read strictly: what is not certain raises some exception, which
the column turns into its own. Dates and intervals are read in PostgreSQL's default ``DateStyle`` and
``IntervalStyle``; where the database has no intervals, SQLAlchemy keeps moments after 1970-01-01.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, types
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.codec.base import Convert

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|NaN|[+-]?(?:Infinity|inf)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = r"\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d(?::\d\d)?)?)?"
_TIME = re.compile(_CLOCK, re.ASCII)
_MOMENT = re.compile(rf"\d{{4}}-\d\d-\d\d[ T]{_CLOCK}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_INTERVAL = re.compile(
    r"(?:(?P<years>[+-]?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-]?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?",
    re.ASCII,
)
_EPOCH = dt.datetime(1970, 1, 1)
_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
# What SQLAlchemy reads a float of SQLite as, where a Numeric names no scale.
_DEFAULT_SCALE = 10


def plain_reader(declared: TypeEngine[Any], decode: Convert) -> Convert | None:
    """Return what reads a type's plain values, or ``None`` if they cannot be told for certain.

    Args:
        declared: the type of the values.
        decode: of the type's codec.
    """
    if isinstance(declared, types.Enum):
        return lambda stored: decode(_text(stored).encode())
    if isinstance(declared, types.Numeric | types.Float):
        return _number_reader(declared)
    if isinstance(declared, types.Uuid):
        as_uuid = declared.as_uuid
        return lambda stored: _uuid(stored) if as_uuid else str(_uuid(stored))
    for kind, reader in _READERS:
        if isinstance(declared, kind):
            return reader
    return None


def _text(stored: Any) -> str:
    if isinstance(stored, bytes):
        return stored.decode()
    if isinstance(stored, str):
        return stored
    raise ValueError("no text")


def _matching(pattern: re.Pattern[str], stored: Any) -> str:
    text = _text(stored)
    if not pattern.fullmatch(text):
        raise ValueError("not in the form that the database leaves")
    return text


def _binary(stored: Any) -> bytes:
    if not isinstance(stored, bytes):
        raise ValueError("no bytes")
    return stored


def _integer(stored: Any) -> int:
    return stored if type(stored) is int else int(_matching(_INTEGER, stored))


def _float(stored: Any) -> float:
    return float(stored if type(stored) in (int, float) else _matching(_NUMBER, stored))


def _number_reader(declared: Any) -> Convert:
    if not declared.asdecimal:
        return _float
    scale = next(
        (one for one in (declared.decimal_return_scale, getattr(declared, "scale", None)) if one is not None),
        _DEFAULT_SCALE,
    )
    floats = isinstance(declared, types.Float)

    def decimal(stored: Any) -> Decimal:
        if floats or type(stored) in (int, float):
            return Decimal(f"{_float(stored):.{scale}f}")
        return Decimal(_matching(_NUMBER, stored))

    return decimal


def _boolean(stored: Any) -> bool:
    return _BOOLEANS[str(stored) if type(stored) is int else _text(stored)]


def _interval(stored: Any) -> dt.timedelta:
    text = _text(stored)
    if _MOMENT.fullmatch(text):
        return dt.datetime.fromisoformat(text) - _EPOCH
    found = _INTERVAL.fullmatch(text)
    if not text or found is None:
        raise ValueError("not in the form that the database leaves")
    years, months, days, hours, minutes, seconds = (
        int(found[one] or 0) for one in ("years", "months", "days", "hours", "minutes", "seconds")
    )
    clock = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    clock += dt.timedelta(microseconds=int((found["fraction"] or "").ljust(6, "0")))
    # A year of 365 days and a month of 30, as psycopg and asyncpg read them.
    return dt.timedelta(days=365 * years + 30 * months + days) + (-clock if found["sign"] == "-" else clock)


def _json(stored: Any) -> Any:
    # SQLite makes a number of a JSON text that is one.
    return stored if type(stored) in (int, float) else json.loads(_text(stored))


def _uuid(stored: Any) -> uuid.UUID:
    if isinstance(stored, bytes) and len(stored) == 16:  # MariaDB's own type
        return uuid.UUID(bytes=stored)
    return uuid.UUID(_matching(_UUID, stored))


_READERS: tuple[tuple[type[TypeEngine[Any]], Convert], ...] = (
    (types.String, _text),
    (types.LargeBinary, _binary),
    (types.Boolean, _boolean),
    (types.Integer, _integer),
    (types.DateTime, lambda stored: dt.datetime.fromisoformat(_matching(_MOMENT, stored))),
    (types.Date, lambda stored: dt.date.fromisoformat(_matching(_DATE, stored))),
    (types.Time, lambda stored: dt.time.fromisoformat(_matching(_TIME, stored))),
    (types.Interval, _interval),
    (JSON, _json),
)
