"""Known answers of the sealed format, and the Python values that they stand for."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import sqlalchemy as sa


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclass
class Address:
    street: str
    since: dt.date | None = None


class Point(msgspec.Struct):
    x: int
    y: float


class Pair(msgspec.Struct, array_like=True):
    number: int
    raw: bytes


class Visit(pydantic.BaseModel):
    paid: Decimal
    at: dt.datetime
    tags: set[str]


Row = tuple[tuple[Any, Any], ...]

INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))
AWARE = dt.datetime(2026, 1, 2, 3, 4, 5, 6, INDIA)
# By the name of a case in make.py: the declared type and the value.
VALUES: dict[str, tuple[Any, Any]] = {
    "text": (sa.String(11), "078-05-1120"),
    "text, empty": (sa.Text(), ""),
    "text, beyond ASCII": (sa.Unicode(5), "Zoë 🩺"),
    **dict.fromkeys(
        (
            "text, table in a schema",
            "text, schema and table",
            "text, the same with the dot elsewhere",
            "text, the same without a schema",
            "text, names beyond ASCII",
            "text, pinned name",
            "text, the column's name pinned",
            "text, pinned name beyond ASCII",
            "text, row of an integer",
            "text, row of another integer",
            "text, row of a text",
            "text, row of an empty text",
            "text, row of a UUID",
            "text, row of two texts",
            "text, row of two texts, cut elsewhere",
            "text, row of several types",
        ),
        (sa.String(), "x"),
    ),
    "json, row of several types, pinned": (sa.JSON(), [7]),
    "bytes": (sa.LargeBinary(), b"\x00\xff\x80"),
    "bytes, empty": (sa.LargeBinary(5), b""),
    "integer, zero": (sa.Integer(), 0),
    "integer, one byte": (sa.SmallInteger(), 127),
    "integer, two bytes": (sa.Integer(), 128),
    "integer, five bytes": (sa.Integer(), 65536),
    "integer, negative": (sa.Integer(), -33),
    "integer, largest": (sa.BigInteger(), 2**63 - 1),
    "integer, smallest": (sa.BigInteger(), -(2**63)),
    "boolean, true": (sa.Boolean(), True),
    "boolean, false": (sa.Boolean(), False),
    "float": (sa.Float(), 0.1),
    "float, whole": (sa.Numeric(asdecimal=False), 1.0),
    "float, negative zero": (sa.Double(), -0.0),
    "decimal": (sa.Numeric(20, 3), Decimal("1.10")),
    "decimal, trailing zeros": (sa.Float(asdecimal=True), Decimal("100")),
    "decimal, 33 characters": (sa.Numeric(), Decimal("-12345678901234567890.12345678901")),
    "date": (sa.Date(), dt.date(2026, 2, 28)),
    "datetime": (sa.DateTime(), dt.datetime(2026, 1, 2, 3, 4, 5, 6)),
    "datetime, whole second": (sa.DateTime(), dt.datetime.min),
    "datetime, aware": (sa.DateTime(timezone=True), AWARE),
    "time": (sa.Time(), dt.time.max),
    "time, whole second, aware": (
        sa.Time(timezone=True),
        dt.time(7, 30, tzinfo=dt.timezone(-dt.timedelta(hours=2))),
    ),
    "interval": (sa.Interval(), dt.timedelta(days=2, hours=1, milliseconds=500)),
    "interval, negative": (sa.Interval(), dt.timedelta(microseconds=-1)),
    "interval, zero": (sa.Interval(), dt.timedelta(0)),
    "uuid": (sa.Uuid(), uuid.UUID("c9bf9e57-1685-4c89-bafb-ff5af830be8a")),
    "uuid, as text": (sa.Uuid(as_uuid=False), "c9bf9e57-1685-4c89-bafb-ff5af830be8a"),
    "enum, name of a member": (sa.Enum(Colour), Colour.RED),
    "enum, plain": (sa.Enum("small", "large", name="size"), "small"),
    "json": (sa.JSON(), {"b": [1, 2.5, "x", None, True], "a": {}}),
    "json, null": (sa.JSON(), None),
    "json, integers beyond 64 bits": (sa.JSON(), [2**64, -(2**63) - 1, 2**63]),
    "array of integers": (sa.ARRAY(sa.Integer), [1, None, -5]),
    "array, empty": (sa.ARRAY(sa.Integer), []),
    "array of two dimensions": (sa.ARRAY(sa.Integer, dimensions=2), [[1, 2], [128, None]]),
    "array of texts": (sa.ARRAY(sa.String), ["é", ""]),
    "array of dates": (sa.ARRAY(sa.Date), [dt.date(2026, 2, 28)]),
    "annotation": (list[int], [1, 128]),
    "dataclass": (Address, Address("Rue 1", dt.date(2026, 2, 28))),
    "dataclass with a default": (Address, Address("Rue 1")),
    "msgspec": (Point, Point(3, 0.5)),
    "msgspec, as an array": (Pair, Pair(3, b"\xff")),
    "pydantic": (Visit, Visit(paid=Decimal("1.10"), at=AWARE, tags={"x"})),
    "timestamps of 4 and 12 bytes": (
        list[dt.datetime],
        [
            dt.datetime(2026, 1, 1, 21, 34, 5, tzinfo=dt.UTC),
            dt.datetime(1960, 1, 1, 0, 0, 0, 5, dt.UTC),
        ],
    ),
}

SEVERAL: Row = (
    (sa.Integer(), 65536),
    (sa.String(40), "acme"),
    (sa.Uuid(), uuid.UUID("c9bf9e57-1685-4c89-bafb-ff5af830be8a")),
    (sa.Date(), dt.date(2026, 2, 28)),
    (sa.DateTime(timezone=True), AWARE),
    (sa.Numeric(20, 3), Decimal("1.10")),
    (sa.Boolean(), True),
    (sa.Enum(Colour), Colour.RED),
    (sa.LargeBinary(), b"\x00\xff"),
)
# By the name of a case whose value is row-bound: the types of the identity columns and their values.
ROWS: dict[str, Row] = {
    "text, row of an integer": ((sa.BigInteger(), 7),),
    "text, row of another integer": ((sa.Integer(), -129),),
    "text, row of a text": ((sa.String(20), "Zoë"),),
    "text, row of an empty text": ((sa.Text(), ""),),
    "text, row of a UUID": ((sa.Uuid(as_uuid=False), "C9BF9E5716854C89BAFBFF5AF830BE8A"),),
    "text, row of two texts": ((sa.String(), "ab"), (sa.String(), "c")),
    "text, row of two texts, cut elsewhere": ((sa.String(), "a"), (sa.String(), "bc")),
    "text, row of several types": SEVERAL,
    "json, row of several types, pinned": SEVERAL,
}
