"""What a plain column takes, a sealed one takes and gives back alike, or refuses with the type named."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk import InvalidValue
from sqlalchemy_cmk.codec import codec_for
from tests.support.databases import Database


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Bytes(bytes):
    pass


class Moment(dt.datetime):
    pass


class Mixed(str, enum.Enum):  # noqa: UP042  (the kind whose str() is not its value)
    A = "a"


class Member(enum.StrEnum):
    A = "a"


class Counted(enum.IntEnum):
    ONE = 1


class Pair(NamedTuple):
    a: int
    b: str


TYPES: dict[str, Any] = {
    "text": sa.String(40),
    "integer": sa.Integer(),
    "float": sa.Float(),
    "numeric": sa.Numeric(12, 2),
    "boolean": sa.Boolean(),
    "date": sa.Date(),
    "moment": sa.DateTime(),
    "aware": sa.DateTime(timezone=True),
    "time": sa.Time(),
    "interval": sa.Interval(),
    "binary": sa.LargeBinary(),
    "uuid": sa.Uuid(),
    "enum": sa.Enum("a", "b", name="letter"),
    "json": sa.JSON(),
}
DAY, NOON = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 12, 30)
ID = uuid.UUID(int=7)
VALUES: dict[str, Any] = {
    "str": "a",
    "str subclass": Text("a"),
    "str enum": Mixed.A,
    "StrEnum": Member.A,
    "numpy str": np.str_("a"),
    "int": 1,
    "int subclass": Number(1),
    "IntEnum": Counted.ONE,
    "numpy int64": np.int64(1),
    "numpy uint8": np.uint8(1),
    "bool": True,
    "numpy bool": np.bool_(True),
    "float": 1.25,
    "float subclass": Real(1.25),
    "numpy float64": np.float64(1.25),
    "numpy float32": np.float32(1.25),
    "Decimal": Decimal("1.25"),
    "Decimal of many places": Decimal("1.005"),
    "float of many places": 0.1 + 0.2,
    "date": DAY,
    "datetime": NOON,
    "datetime subclass": Moment(2026, 1, 2, 12, 30),
    "aware datetime": NOON.replace(tzinfo=dt.UTC),
    "pandas Timestamp": pd.Timestamp(NOON),
    "aware pandas Timestamp": pd.Timestamp(NOON, tz="UTC"),
    "pandas NaT": pd.NaT,
    "pandas NA": pd.NA,
    "numpy datetime64": np.datetime64("2026-01-02T12:30"),
    "time": dt.time(12, 30),
    "timedelta": dt.timedelta(hours=1),
    "pandas Timedelta": pd.Timedelta(hours=1),
    "numpy timedelta64": np.timedelta64(1, "h"),
    "bytes": b"ab",
    "bytes subclass": Bytes(b"ab"),
    "numpy bytes": np.bytes_(b"ab"),
    "bytearray": bytearray(b"ab"),
    "memoryview": memoryview(b"ab"),
    "UUID": ID,
    "text of a UUID": str(ID),
    "JSON of subclasses": {
        Text("k"): [Mixed.A, Number(1), Counted.ONE, np.float64(1.5), (1, "x"), Pair(1, "y")]
    },
    "JSON with other keys": {7: "a", 2.5: "b", True: "c", None: "d", Member.A: "e"},
    "JSON of numpy int64": [np.int64(1)],
    "JSON of a tuple key": {(1, 2): "a"},
    "set": {1},
    "numpy array": np.array([1, 2]),
}
TEXTS = {"str", "str subclass", "str enum", "StrEnum", "numpy str"}
INTEGERS = {"int", "int subclass", "IntEnum", "numpy int64", "numpy uint8"}
FRACTIONS = {"float", "float subclass", "numpy float64", "numpy float32", "Decimal"}
LONG = {"Decimal of many places", "float of many places"}
MOMENTS = {"datetime", "datetime subclass", "pandas Timestamp"}
AWARE = {"aware datetime", "aware pandas Timestamp"}
TAKEN: dict[str, set[str]] = {
    "text": {*TEXTS, "text of a UUID"},
    "integer": {*INTEGERS, "bool"},
    "float": INTEGERS | FRACTIONS | LONG,
    "numeric": INTEGERS | FRACTIONS | LONG,
    "boolean": {*INTEGERS, "bool", "numpy bool"},
    "date": {"date", *MOMENTS},
    "moment": {"date", *MOMENTS, *AWARE},
    "aware": MOMENTS | AWARE,
    "time": {"time"},
    "interval": {"timedelta", "pandas Timedelta"},
    "binary": {"bytes", "bytes subclass", "numpy bytes", "bytearray", "memoryview"},
    "uuid": {"UUID"},
    "enum": TEXTS,
    "json": {
        *TEXTS, "text of a UUID", "int", "int subclass", "IntEnum", "bool",
        "float", "float subclass", "numpy float64", "float of many places",
        "JSON of subclasses", "JSON with other keys",
    },
}  # fmt: skip


def sealed(name: str, value: Any) -> Any:
    """What a sealed column gives back."""
    codec = codec_for(TYPES[name], canonical=False)
    return codec.decode(codec.encode(value))


@pytest.mark.parametrize("name", TYPES)
def test_a_value_is_taken_or_its_type_is_named(name: str) -> None:
    for kind, value in VALUES.items():
        if kind in TAKEN[name]:
            assert type(sealed(name, value)).__module__ in ("builtins", "datetime", "decimal", "uuid"), kind
            continue
        with pytest.raises(InvalidValue) as caught:
            sealed(name, value)
        inner = {"JSON of numpy int64": np.int64, "JSON of a tuple key": tuple}.get(kind)
        named = inner if inner and name == "json" else type(value)
        assert named.__qualname__ in str(caught.value), kind


# Where a driver stores something else than the value, or drops its time zone or gives it in the session's.
# SQLite rounds the float that is nearest to 1.005.
PECULIAR = {
    "sqlite": {
        *(("integer", "numpy int64"), ("integer", "numpy uint8"), ("boolean", "numpy bool")),
        ("numeric", "Decimal of many places"),
        *((name, one) for name in ("moment", "aware") for one in AWARE),
    },
    "postgresql": {("moment", one) for one in AWARE} | {("aware", one) for one in MOMENTS},
}


@pytest.mark.parametrize("database", PECULIAR, indirect=True)
def test_what_comes_back_is_what_a_plain_column_gives_back(database: Database) -> None:
    table = sa.Table("plain", sa.MetaData(), *(sa.Column(name, type_) for name, type_ in TYPES.items()))
    engine = sa.create_engine(database.url)
    compared = set()
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        for name in TYPES:
            for kind in sorted(TAKEN[name]):
                found = stored(connection, table, name, VALUES[kind])
                if found is not None and (name, kind) not in PECULIAR[database.name]:
                    opened = sealed(name, VALUES[kind])
                    assert (opened, type(opened)) == (found, type(found)), (name, kind)
                    compared.add((name, kind))
    engine.dispose()
    assert len(compared) > 60


def stored(connection: sa.Connection, table: sa.Table, name: str, value: Any) -> Any:
    """What a plain column gives back of a value; None where it does not take it."""
    try:
        with connection.begin_nested():
            connection.execute(table.insert().values({name: value}))
            return connection.scalar(sa.select(table.c[name]))
    except SQLAlchemyError:
        return None
    finally:
        connection.execute(table.delete())
