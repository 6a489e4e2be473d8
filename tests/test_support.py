"""The databases that the other tests stand on, and the choice of what runs with an older SQLAlchemy."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

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

from tests.support import passes
from tests.support.databases import Database
from tests.support.skips import VARIABLE

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


def config(expression: str) -> Any:
    return SimpleNamespace(option=SimpleNamespace(markexpr=expression))


def test_what_the_second_pass_leaves_out_is_there() -> None:
    others = (path for places in passes.OTHER_SUBJECTS.values() for path in places)
    for path in (*passes.FOLDERS, *passes.MODULES, *passes.EXCEPT, *others):
        assert (passes.TESTS / path).exists(), path
    assert passes.without_sqlalchemy(passes.TESTS / "providers" / "test_azure.py")
    assert not passes.without_sqlalchemy(passes.TESTS / "rekey" / "test_azure.py")


def test_what_a_module_is_about_goes_by_its_place() -> None:
    assert passes.other_subject(passes.TESTS / "drill" / "test_drill.py") is not None
    assert passes.other_subject(passes.TESTS / "keys" / "test_load.py") is not None
    assert passes.other_subject(passes.TESTS / "keys" / "test_load.pyi") is None
    assert passes.other_subject(passes.TESTS / "hooks" / "test_types.py") is None


def test_a_test_that_the_second_pass_leaves_out_fails_when_it_connects() -> None:
    item: Any = SimpleNamespace(
        nodeid="tests/providers/test_x.py::test", get_closest_marker=lambda name: True
    )
    watching = passes.Passes(config(""))
    for connects in (False, True):
        watching.pytest_runtest_setup()
        call = watching.pytest_runtest_call(item)
        next(call)
        if connects:
            create_engine("sqlite://").connect().close()
        with pytest.raises(pytest.fail.Exception if connects else StopIteration):
            next(call)


def test_the_first_pass_may_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(passes, "NEWEST", (2, 0))
    with pytest.raises(pytest.UsageError, match="leaves nothing out"):
        passes.Passes(config("not no_sqlalchemy"))
    monkeypatch.setattr(passes, "NEWEST", (9, 9))
    passes.Passes(config("not no_sqlalchemy"))
