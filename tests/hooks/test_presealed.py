"""Sealed values on their way to the driver are no user's bytes, and cost the collector nothing."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.columns.presealed import PREFIX, PREFIX_BYTES, is_presealed
from sqlalchemy_cmk.columns.writing import ColumnWriter
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.faults.watching import found, told
from tests.support.databases import Database


def test_a_value_that_looks_sealed_is_sealed_like_any_other(sqlite_database: Database, tmp_path) -> None:
    engine, metadata = create_engine(sqlite_database.url), MetaData()
    column = Column("data", EncryptedType(LargeBinary(200), deterministic=True))
    table = Table("files", metadata, Column("id", Integer, primary_key=True), column)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(metadata)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1, "data": b"first"}])
        stored = connection.execute(text("SELECT data FROM files")).scalar_one()
        assert PREFIX not in stored
        connection.execute(table.insert(), [{"id": 2, "data": stored}])
        again = connection.execute(text("SELECT data FROM files WHERE id = 2")).scalar_one()
        assert stored not in again
        assert connection.execute(select(table.c.id).where(table.c.data == stored)).scalar_one() == 2
        assert connection.execute(select(table.c.data).where(table.c.id == 2)).scalar_one() == stored
    sealed = ColumnWriter(column.type.sealed_column, keyring.keys).seal(b"first", "")
    assert is_presealed(sealed) and sealed[PREFIX_BYTES:] == stored and not gc.is_tracked(sealed)
    keyring.close()


@pytest.fixture
def people(sqlite_database: Database, tmp_path: Path) -> Iterator[Session]:
    metadata = MetaData()
    Table(
        "people",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic", String(20)),
        Column("ssn", EncryptedType(String(20))),
        Column("email", EncryptedType(String(20), deterministic=True)),
        Column("born", DateTime),
        info={"cmk_tenant": "clinic"},
    )
    engine = create_engine(sqlite_database.url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(metadata)
    metadata.create_all(engine)
    with Session(engine) as session:
        session.info["table"] = metadata.tables["people"]
        session.execute(metadata.tables["people"].insert(), [{"id": 1, "clinic": "acme", **SEALED}])
        session.commit()
        yield session
    keyring.close()
    engine.dispose()


SEALED = {"ssn": "one", "email": "two"}
ROW = {"clinic": "acme", **SEALED}
FAILS: dict[str, Callable[[Table], tuple[Any, Any]]] = {
    "the database": lambda p: (p.insert(), [{"id": 1, **ROW}]),
    "the database, of many": lambda p: (p.insert(), [{"id": 2, **ROW}, {"id": 1, **ROW}]),
    "a bind processor": lambda p: (p.insert(), [{"id": 2, **ROW, "born": "nonsense"}]),
    "a bind processor, of many": lambda p: (p.insert(), [{"id": n, **ROW, "born": "x"} for n in (2, 3)]),
    "a bind processor, of values": lambda p: (p.insert().values(id=2, **ROW, born="nonsense"), None),
    "the driver": lambda p: (p.insert(), [{"id": object(), **ROW}]),
    "an update": lambda p: (p.update().where(p.c.clinic == "acme").values(**SEALED, born="x"), None),
    "a criterion": lambda p: (
        select(p).where(p.c.clinic == "acme", p.c.email == "two", text("no = 1")),
        None,
    ),
    "a missing parameter": lambda p: (
        p.update().where(p.c.clinic == "acme", p.c.id == bindparam("no")).values(**SEALED),
        None,
    ),
}


@pytest.mark.parametrize("name", FAILS)
def test_no_error_of_sqlalchemy_shows_the_prefix(people: Session, name: str) -> None:
    statement, rows = FAILS[name](people.info["table"])
    with pytest.raises(SQLAlchemyError) as caught:
        people.execute(statement, rows)
    assert found({"prefix": PREFIX}, told(caught.value)) == []
