"""What migrations need of a database: a lock that ends with its session, and a digest of rows."""

import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import mssql

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.databases import database_of
from tests.support.databases import Database

HOLDER = """
import sys
from sqlalchemy import create_engine
from sqlalchemy_cmk.databases import database_of
connection = create_engine(sys.argv[1]).connect()
print(database_of(connection.dialect).hold(connection, "one") is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def engine(database: Database) -> Engine:
    return create_engine(database.url)


def test_a_lock_is_held_by_one_session_until_it_is_given_back(engine: Engine) -> None:
    holds = database_of(engine.dialect)
    with engine.connect() as first, engine.connect() as second:
        release = holds.hold(first, "one")
        assert release is not None
        assert holds.hold(second, "one") is None
        release()
        again = holds.hold(second, "one")
        assert again is not None
        again()


def test_a_lock_ends_with_a_process_that_is_killed(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with Popen([sys.executable, "-c", HOLDER, url], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with engine.connect() as connection:
            holds = database_of(engine.dialect)
            assert holds.hold(connection, "one") is None
            process.kill()
            process.wait()
            while (release := holds.hold(connection, "one")) is None:
                connection.rollback()
            release()


def test_the_lock_of_an_sqlite_database_leaves_the_database_alone(sqlite_database: Database) -> None:
    engine = create_engine(sqlite_database.url)
    with engine.connect() as connection, engine.connect() as other:
        release = database_of(engine.dialect).hold(connection, "one")
        other.execute(text("CREATE TABLE t (id INTEGER)"))
        other.commit()
        assert release is not None
        release()
    beside = Path(f"{engine.url.database}-cmk-lock")
    assert beside.exists() and beside.stat().st_size == 0


def test_no_lock_is_guessed_where_none_is_known() -> None:
    with create_engine("sqlite://").connect() as connection:
        unknown = database_of(mssql.dialect())  # type: ignore[no-untyped-call]
        with pytest.raises(ConfigurationError, match="it is not known how to hold a lock on mssql"):
            unknown.hold(connection, "one")


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_digest_differs_where_any_column_of_any_row_does(engine: Engine) -> None:
    table = Table(
        "rows_of_values",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(20)),
        Column("other", String(20)),
        Column("number", Float()),
        Column("value", LargeBinary()),
    )
    row = {"name": "a", "other": "b", "number": 0.5, "value": b"x"}
    digest_column = database_of(engine.dialect).rows_digest(list(table.columns))
    assert digest_column is not None
    seen = []
    changes = (
        {},
        {"name": "A"},
        {"name": None},
        {"name": ""},
        {"name": "ab", "other": ""},
        {"name": "", "other": "ab"},
        {"number": 0.25},
        {"value": b"y"},
        {"value": None},
    )
    with engine.connect() as connection:
        table.create(connection)
        for change in changes:
            connection.execute(table.delete())
            connection.execute(insert(table), [{"id": 1, **row, **change}, {"id": 2, **row}])
            seen.append(connection.scalar(select(digest_column)))
            assert connection.scalar(select(digest_column)) == seen[-1]
        connection.execute(table.delete().where(table.c.id == 2))
        seen.append(connection.scalar(select(digest_column)))
    assert len(set(seen)) == len(changes) + 1
