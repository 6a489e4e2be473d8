"""A table as it was before it was adopted: plaintexts of every type, and the cast to bytes."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Engine,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    inspect,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Shouted(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value and value.lower()

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.upper()


east = dt.timezone(dt.timedelta(hours=5, minutes=30))
moment = dt.datetime(2026, 1, 2, 3, 4, 5, 600)
spans = [dt.timedelta(), dt.timedelta(3, 4, 5), dt.timedelta(days=-1, seconds=30), dt.timedelta(hours=-30)]

TYPES: dict[str, tuple[Any, list[Any]]] = {
    "string": (
        String(200),
        ["", "078-05-1120", "Zoë 🐘", "\x01 looks odd and is long enough to be sealed"],
    ),
    "text": (Text(), ["", "line\nline", "x" * 5000]),
    "integer": (Integer(), [0, -7, 2**31 - 1]),
    "big_integer": (BigInteger(), [-(2**63), 2**63 - 1]),
    "float": (Float(53), [0.0, -1.5, 0.1, 1e20, 1 / 3]),
    "numeric": (Numeric(20, 3), [Decimal("0"), Decimal("-1.100"), Decimal("12345678.125")]),
    "float_of_numeric": (Numeric(20, 3, asdecimal=False), [0.5, -1.25, 12.5]),
    "decimal_of_float": (Float(53, asdecimal=True), [Decimal("0.5"), Decimal("-12.25")]),
    "boolean": (Boolean(), [True, False]),
    "date": (Date(), [dt.date(1, 1, 1), dt.date(1999, 12, 31)]),
    "naive": (DateTime(), [moment.replace(microsecond=0), dt.datetime(1999, 12, 31)]),
    "aware": (DateTime(timezone=True), [moment.replace(microsecond=0, tzinfo=east)]),
    "time": (Time(), [dt.time(0, 0), dt.time(23, 59, 59)]),
    "interval": (Interval(), spans),
    "binary": (LargeBinary(), [b"", b"\x00\xff", b"\x01" + bytes(60), b"\x02short", bytes(range(256))]),
    "json": (JSON(), [{"a": [1, None, "x"]}, [], "5", 5, 1.5, True, {"é": 2**70}]),
    "uuid": (Uuid(), [uuid.UUID(int=0), uuid.UUID("12345678-1234-5678-1234-567812345678")]),
    "uuid_text": (Uuid(as_uuid=False), ["12345678-1234-5678-1234-567812345678"]),
    "python_enum": (Enum(Colour), list(Colour)),
    "plain_enum": (Enum("small", "large", name="size"), ["small", "large"]),
    "decorated": (Shouted(40), ["LOUD"]),
}


def model_of(base: Any, type_: Any, name: str = "Thing", **columns: Any) -> Any:
    columns["id"] = mapped_column(Integer, primary_key=True)
    return type(name, (base,), {"__tablename__": "things", "value": mapped_column(type_), **columns})


def before_adoption(engine: Engine, declared: Any, values: list[Any]) -> list[Any]:
    """Fill a table that knows nothing of sealing, and return what it reads."""
    base = type("Before", (DeclarativeBase,), {})
    before = model_of(base, declared)
    base.metadata.create_all(engine)  # type: ignore[attr-defined]
    with Session(engine) as session:
        session.add_all([before(id=number, value=value) for number, value in enumerate(values, 1)])
        session.commit()
        return list(session.scalars(select(before.value).order_by(before.id)))


def make_binary(engine: Engine, table: str = "things", column: str = "value") -> None:
    """Turn a column into one of bytes, as the migration does that seals no row."""
    kind = inspect(engine).get_columns(table)
    declared = next(one["type"] for one in kind if one["name"] == column)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql" and not isinstance(declared, LargeBinary):
            using = f"convert_to({column}::text, 'UTF8')"
            connection.execute(text(f"ALTER TABLE {table} ALTER {column} TYPE bytea USING {using}"))
        elif engine.dialect.name in ("mysql", "mariadb"):
            connection.execute(text(f"ALTER TABLE {table} MODIFY {column} LONGBLOB"))
