"""What a database knows of a table's rows without reading them: estimates, and what it does not know."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    select,
    text,
)
from sqlalchemy.dialects import mssql

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.statistics import Known
from sqlalchemy_cmk.databases.statistics.base import stored
from tests.support.databases import Database

# Large enough not to be counted. Every tenth row is b's, whose values are all there; every second of a's is.
ROWS = 20_000
SERIES = {
    "postgresql": "SELECT n FROM generate_series(1, :rows) AS s(n)",
    "mariadb": "SELECT seq AS n FROM seq_1_to_20000 LIMIT :rows",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :rows) "
    "SELECT n FROM s",
}
FILLER = {"postgresql": "convert_to(repeat('x', 1200), 'UTF8')", "sqlite": "zeroblob(1200)"}
REWRITE = {"postgresql": "VACUUM FULL notes", "sqlite": "VACUUM", "mariadb": "ALTER TABLE notes FORCE"}
ANALYZE = {"mariadb": "ANALYZE TABLE notes PERSISTENT FOR ALL"}

metadata = MetaData()
notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(20)),
    Column("value", LargeBinary),
)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """A table of 12 MB on each database in turn."""
    made = create_engine(database.url)
    metadata.create_all(made)
    filler = FILLER.get(database.name, "repeat('x', 1200)")
    with made.begin() as connection:
        if database.name == "postgresql":  # no statistics but those that the test asks for
            connection.execute(text("ALTER TABLE notes SET (autovacuum_enabled = false)"))
        numbers = {"rows": ROWS}
        connection.execute(
            text(
                "INSERT INTO notes (id, owner, value) SELECT n, CASE WHEN n % 10 = 0 THEN 'b' ELSE 'a' END, "
                f"CASE WHEN n % 2 = 0 THEN {filler} END FROM ({SERIES[database.name]}) AS numbers"
            ),
            numbers,
        )
    yield made
    made.dispose()


def kind_of(engine: Engine) -> str:
    return database_of(engine.dialect).key


def analyze(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(ANALYZE.get(kind_of(engine), "ANALYZE")))


def amounts(engine: Engine, owner: str) -> list[tuple[int | None, Known]]:
    query = select(*stored([notes.c.value])).where(notes.c.owner == owner)
    with engine.connect() as connection:
        found = database_of(connection.dialect).statistics.amounts(connection, notes, query)
    return [(one.rows, one.known) for one in found]


def test_rows_of_an_owner_are_estimated_once_the_table_was_analyzed(engine: Engine) -> None:
    analyze(engine)
    (rows, known), (values, of_values) = amounts(engine, "b")
    if kind_of(engine) == "sqlite":  # it notes nothing of values without an index
        assert (rows, known) == (values, of_values) == (ROWS, Known.AT_MOST)
        return
    assert known is Known.ESTIMATED and rows is not None and 1000 < rows < 4000
    if of_values is Known.ESTIMATED:
        assert values is not None and 500 < values < 4000


def test_an_index_that_leads_with_the_owner_needs_no_more(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE INDEX ix_notes_owner ON notes (owner)"))
    analyze(engine)
    (rows, known), _ = amounts(engine, "b")
    assert known is (Known.COUNTED if kind_of(engine) == "sqlite" else Known.ESTIMATED)
    assert rows is not None and 1000 < rows < 4000


def test_without_statistics_it_says_so(engine: Engine) -> None:
    if kind_of(engine) == "mariadb":  # it knows the table's size at once then, and nothing of the owners
        with engine.connect() as connection:
            connection.execute(text("ANALYZE TABLE notes")).all()
    (_, known), (_, of_values) = amounts(engine, "b")
    expected = Known.AT_MOST if kind_of(engine) == "mariadb" else Known.UNKNOWN
    assert known is expected and of_values is expected


def test_small_tables_are_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(notes.delete().where(notes.c.id > 100))
    analyze(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        rewrite = {
            "postgresql": "VACUUM FULL notes",
            "sqlite": "VACUUM",
            "mariadb": "ALTER TABLE notes FORCE",
        }
        connection.execute(text(rewrite[kind_of(engine)]))
    analyze(engine)
    assert amounts(engine, "b") == [(10, Known.COUNTED), (10, Known.COUNTED)]


def test_a_database_that_is_not_known_says_nothing() -> None:
    statistics = database_of(mssql.dialect()).statistics
    no_connection: Any = None
    query = select(*stored([notes.c.value]))
    assert [one.known for one in statistics.amounts(no_connection, notes, query)] == [Known.UNKNOWN] * 2
    assert statistics.activity(no_connection, notes).read_at is None


def test_the_last_write_is_known_where_the_database_notes_it(engine: Engine) -> None:
    def look(connection: Connection) -> Any:
        return database_of(connection.dialect).statistics.activity(connection, notes)

    with engine.connect() as connection:
        activity = look(connection)
    assert (activity.written_at is not None) is (kind_of(engine) == "mariadb")
