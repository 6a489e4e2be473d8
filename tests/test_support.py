"""The databases that the other tests stand on."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Unicode,
    create_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.databases import Database

METADATA = MetaData()
NOTES = Table(
    "notes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("word", Unicode(40), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
ROW = {"id": 1, "word": "naïve 🔑", "data": bytes(range(256))}


@pytest.fixture
def held() -> Iterator[list[Connection]]:
    """Connections that stay open until the test's database has been dropped."""
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        connection.invalidate()
        connection.close()


def test_database_is_empty_and_holds_what_is_written(database: Database) -> None:
    engine = create_engine(database.url)
    assert engine.dialect.name == database.name
    assert inspect(engine).get_table_names() == []
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(NOTES), ROW)
    with engine.connect() as connection:
        assert connection.execute(select(NOTES)).mappings().one() == ROW
    engine.dispose()


def test_database_is_a_new_one_for_each_test(database: Database) -> None:
    engine = create_engine(database.url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_database_is_dropped_while_a_connection_holds_it(held: list[Connection], database: Database) -> None:
    engine = create_engine(database.url)
    METADATA.create_all(engine)
    connection = engine.connect()
    held.append(connection)
    connection.execute(insert(NOTES), ROW)


async def test_async_database_holds_what_is_written(async_database: Database) -> None:
    assert async_database.async_url is not None
    engine = create_async_engine(async_database.async_url)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(NOTES), ROW)
    async with engine.connect() as connection:
        assert (await connection.execute(select(NOTES))).mappings().one() == ROW
    await engine.dispose()


def test_only_mariadb_lacks_an_async_url(database: Database) -> None:
    assert (database.async_url is None) == (database.name == "mariadb")


def test_sqlite_database_is_a_file_of_its_own(sqlite_database: Database) -> None:
    engine = create_engine(sqlite_database.url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
