"""What is written for a row opens when it is read back, whatever type of column identifies the row.

Where the database would give a key back changed, the row is refused before it is written.
"""

import datetime as dt
import enum
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    BINARY,
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import registry

from sqlalchemy_cmk import ConfigurationError, EncryptedType, UnsupportedOperation
from tests.support.vault import Vault


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Guid(TypeDecorator[UUID]):
    """The recipe of SQLAlchemy's documentation: a UUID in a CHAR, native on PostgreSQL."""

    impl = CHAR
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(pg.UUID(as_uuid=True) if native else CHAR(32))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value if value is None or dialect.name == "postgresql" else value.hex

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value if value is None or isinstance(value, UUID) else UUID(value)


class Utc(TypeDecorator[dt.datetime]):
    """An aware moment, stored naive."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.replace(tzinfo=dt.UTC)


MICRO = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
EAST = dt.timezone(dt.timedelta(hours=2))
NOON = dt.datetime(2024, 5, 6, 12, 0, 0)
TYPES: dict[str, tuple[Any, list[Any]]] = {
    "integers": (Integer(), [0, -5, 2**31 - 1]),
    "big integers": (BigInteger(), [2**63 - 1, -(2**63), 128]),
    "booleans": (Boolean(), [True, False]),
    "texts": (String(40), ["a", "A b", "7", "é" * 9, "x" * 40, " lead", "trail "]),
    "padded texts": (CHAR(10), ["a", "0123456789", "in side"]),
    "texts padded on one database": (String(5).with_variant(CHAR(5), "postgresql"), ["abcde"]),
    "UUIDs": (Uuid(), [uuid4(), UUID(int=0)]),
    "UUIDs as texts": (Uuid(as_uuid=False), [str(uuid4()), str(UUID(int=7))]),
    "UUIDs by the recipe": (Guid(), [uuid4(), uuid4()]),
    "UUIDs that are not native": (Uuid(native_uuid=False), [uuid4()]),
    "dates": (Date(), [dt.date(2024, 2, 29), dt.date(1000, 1, 1)]),
    "moments": (DateTime(), [NOON, NOON.replace(second=59)]),
    "moments with microseconds": (MICRO, [NOON, NOON.replace(microsecond=123456)]),
    "aware moments by a type of its own": (Utc(), [NOON.replace(tzinfo=EAST), NOON.replace(tzinfo=dt.UTC)]),
    "times": (Time(), [dt.time(0, 0), dt.time(23, 59, 59)]),
    "decimals": (Numeric(12, 2), [Decimal("1.50"), Decimal("-0.01"), Decimal("1234567890"), 7, 0.25]),
    "whole decimals": (Numeric(12, 0), [Decimal("100"), Decimal(0)]),
    "Enums": (Enum(Color, name="color"), [Color.RED, Color.BLUE]),
    "Enums of texts": (Enum("on", "off", name="switch"), ["on", "off"]),
    "bytes": (LargeBinary(16), [b"\0" * 16, b"ends in zero\0"]),
    "padded bytes": (BINARY(8).with_variant(LargeBinary(), "postgresql"), [b"12345678", b"short", b"zero\0"]),
    "sealed keys": (EncryptedType(String(20), deterministic=True), ["a", "A", "a "]),
    "sealed moments": (
        EncryptedType(DateTime(), deterministic=True),
        [NOON.replace(microsecond=5, tzinfo=EAST)],
    ),
}
# On which databases a value would be given back changed.
CHANGED: dict[str, tuple[Any, Any, set[str]]] = {
    "digits beyond the scale": (Numeric(10, 2), Decimal("1.005"), {"sqlite", "postgresql", "mariadb"}),
    "a fraction where there is no scale": (Numeric(10), Decimal("1.5"), {"sqlite", "postgresql", "mariadb"}),
    "more digits than a float has": (Numeric(20, 2), Decimal("12345678901234567.89"), {"sqlite"}),
    "many whole digits": (Numeric(30, 0), Decimal("1e23"), {"sqlite"}),
    "a zone that is not kept": (DateTime(), NOON.replace(tzinfo=EAST), {"sqlite", "postgresql", "mariadb"}),
    "a zone": (DateTime(timezone=True), NOON.replace(tzinfo=EAST), {"sqlite", "mariadb"}),
    "no zone where there is one": (DateTime(timezone=True), NOON, {"postgresql"}),
    "microseconds": (DateTime(), NOON.replace(microsecond=1), {"mariadb"}),
    "microseconds of a time": (Time(), dt.time(1, 2, 3, 4), {"mariadb"}),
    "digits of a second": (
        MICRO.with_variant(pg.TIMESTAMP(precision=0), "postgresql"),
        NOON.replace(microsecond=9),
        {"postgresql"},
    ),
    "a text shorter than its padding": (
        String(9).with_variant(CHAR(9), "postgresql"),
        "short",
        {"postgresql"},
    ),
    "bytes shorter than their padding": (
        LargeBinary(8).with_variant(BINARY(8), "mysql", "mariadb"),
        b"short",
        {"mariadb"},
    ),
}


def table_of(vault: Vault, type_: Any) -> Any:
    table = Table(
        "notes",
        vault.base.metadata,
        # Not the primary key: MariaDB has none on a whole BLOB.
        Column("number", Integer, primary_key=True),
        Column("key", type_),
        Column("text", EncryptedType(String(40), row_bound=True)),
        info={"cmk_row": ("key",)},
    )
    model = type("Note", (), {})
    registry(metadata=vault.base.metadata).map_imperatively(model, table)
    vault.create()
    return model


@pytest.mark.parametrize("name", TYPES)
def test_what_is_written_for_a_row_opens_when_it_is_read_back(vault: Vault, name: str) -> None:
    type_, keys = TYPES[name]
    model: Any = table_of(vault, type_)
    with vault.session() as session:
        for number, key in enumerate(keys, 1):
            one = model()
            one.number, one.key, one.text = number, key, f"text {number}"
            session.add(one)
        session.commit()
        session.execute(
            insert(model), [{"number": 50 + n, "key": key, "text": "bulk"} for n, key in enumerate(keys)]
        )
        session.commit()
    vault.restart()
    with vault.session() as session:
        found = session.scalars(select(model).order_by(model.number)).all()
        assert [one.text for one in found] == [
            *(f"text {number}" for number in range(1, 1 + len(keys))),
            *(["bulk"] * len(keys)),
        ]
        for one in found:
            one.text = f"changed {one.number}"
        session.commit()
        session.execute(update(model), [{"number": 1, "text": "by key"}])
        session.execute(delete(model).where(model.number >= 50))
        if not isinstance(type_, EncryptedType | Boolean):
            named = update(model.__table__).where(model.__table__.c.key == keys[0]).values(text="by key")
            session.connection().execute(named)
        session.commit()
        texts = session.execute(select(model.number, model.key, model.text)).all()
        assert {text for number, _, text in texts} <= {"by key", *(f"changed {n}" for n, _, _ in texts)}


@pytest.mark.parametrize("name", CHANGED)
def test_a_key_that_the_database_changes_is_refused_or_opens(vault: Vault, name: str) -> None:
    type_, key, changed_on = CHANGED[name]
    model: Any = table_of(vault, type_)
    with vault.session() as session:
        if vault.engine.dialect.name in changed_on:
            with pytest.raises(UnsupportedOperation, match=r"round, cut or convert"):
                session.execute(insert(model).values(number=1, key=key, text="x"))
        else:
            session.execute(insert(model).values(number=1, key=key, text="x"))
        session.execute(insert(model).values(number=2, key=key))  # no value, nothing bound
        session.commit()
        rows = session.execute(select(model.key, model.text).order_by(model.number)).all()
        assert [text for _, text in rows] in ([None], ["x", None])


def test_types_whose_values_are_not_exact_cannot_identify_a_row(make_vault: Any) -> None:
    for type_ in (Float(), Numeric(10, 2, asdecimal=False), JSON(), Interval()):
        vault = make_vault()
        model: Any = table_of(vault, type_)
        with vault.session() as session, pytest.raises(ConfigurationError, match="cannot identify a row"):
            session.execute(insert(model).values(number=1, key=None, text="x"))
