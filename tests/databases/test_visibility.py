"""A connection says why it may not see every row of a table, and what contradicts a count."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, MetaData, NullPool, Table, create_engine, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases import database_of
from tests.support.databases import Database
from tests.support.roles import isolate, owner_of

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
MARIADB = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

people = Table("people", MetaData())


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A connection to each database, which has a table of people with three rows."""
    engine = create_engine(database.url)
    with engine.connect() as connection:
        run(connection, "CREATE TABLE people (id INT PRIMARY KEY, clinic VARCHAR(20))")
        run(connection, "INSERT INTO people VALUES (1, 'acme'), (2, 'acme'), (3, 'globex')")
        yield connection
    engine.dispose()


def run(connection: Connection, *statements: str) -> None:
    for one in statements:
        connection.execute(text(one))
        connection.commit()


def hidden(connection: Connection, name: str = "people", schema: str | None = None) -> str:
    table = Table(name, MetaData(), schema=schema)
    return database_of(connection.dialect).visibility.hidden(connection, table)


def contradicts(connection: Connection, counted: int, table: Table = people) -> int:
    return database_of(connection.dialect).visibility.contradicts(connection, table, counted)


def test_a_table_hides_nothing_and_neither_does_one_that_is_not_there(connection: Connection) -> None:
    assert hidden(connection) == hidden(connection, "nobody") == ""


def test_a_view_shows_what_it_likes(connection: Connection) -> None:
    run(connection, "CREATE VIEW acmes AS SELECT * FROM people WHERE clinic = 'acme'")
    assert "is a view" in hidden(connection, "acmes")


def test_a_temporary_table_stands_in_front_of_another(connection: Connection) -> None:
    run(connection, "CREATE TEMPORARY TABLE people (id INT)")
    assert "temporary" in hidden(connection)


def test_the_same_name_is_the_same_table_on_two_connections(
    connection: Connection, database: Database
) -> None:
    visibility = database_of(connection.dialect).visibility
    engine = create_engine(database.url)
    with engine.connect() as other:
        assert visibility.identity(connection, people) == visibility.identity(other, people)
    engine.dispose()


@POSTGRESQL
class TestPostgreSQL:
    def test_a_policy_hides_rows_from_a_tables_owner(self, database: Database) -> None:
        with owner_of(database) as url:
            engine = create_engine(url)
            with engine.connect() as connection:
                run(connection, "CREATE TABLE people (id INT, clinic TEXT)", *isolate("people", "clinic"))
                assert "row level security" in hidden(connection)
                run(connection, "ALTER TABLE people NO FORCE ROW LEVEL SECURITY")
                assert hidden(connection) == ""
            engine.dispose()

    def test_a_session_that_sees_every_row_fails_where_a_policy_hides_some(self, database: Database) -> None:
        with owner_of(database) as url:
            engine = create_engine(url)
            with engine.connect() as connection:
                run(connection, "CREATE TABLE people (id INT, clinic TEXT)", *isolate("people", "clinic"))
                visibility = database_of(connection.dialect).visibility
                with (
                    pytest.raises(DBAPIError, match="row-level security"),
                    visibility.of_session(connection),
                ):
                    connection.commit()
                    connection.execute(text("SELECT count(*) FROM people"))
                connection.rollback()
                with visibility.of_session(connection):
                    connection.commit()
                assert connection.execute(text("SHOW row_security")).scalar_one() == "on"
            engine.dispose()

    def test_what_is_no_table_is_named(self, connection: Connection) -> None:
        run(
            connection,
            "CREATE MATERIALIZED VIEW old AS SELECT * FROM people",
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE FOREIGN TABLE far_people (id INT) SERVER far",
        )
        assert "materialized view" in hidden(connection, "old")
        assert "foreign table" in hidden(connection, "far_people")

    def test_a_name_is_another_table_by_another_search_path(self, connection: Connection) -> None:
        visibility = database_of(connection.dialect).visibility
        before = visibility.identity(connection, people)
        run(connection, "CREATE SCHEMA front", "CREATE TABLE front.people (id INT)")
        run(connection, "SET search_path = front, public")
        assert visibility.identity(connection, people) != before

    def test_statistics_contradict_a_count_once_there_are_any(self, connection: Connection) -> None:
        visibility = database_of(connection.dialect).visibility
        assert contradicts(connection, 0) > 0  # it has pages, and nobody has analyzed it
        visibility.refresh(connection, people)
        connection.commit()
        assert (contradicts(connection, 0), contradicts(connection, 1), contradicts(connection, 2)) == (
            3,
            3,
            0,
        )
        run(connection, "DELETE FROM people")
        visibility.refresh(connection, people)
        connection.commit()
        assert contradicts(connection, 0) == 0

    def test_the_rows_of_partitions_count(self, connection: Connection) -> None:
        run(
            connection,
            "CREATE TABLE visits (id INT) PARTITION BY RANGE (id)",
            "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10)",
            "CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (10) TO (20)",
            "INSERT INTO visits VALUES (1), (2), (11), (12)",
        )
        visits = Table("visits", MetaData())
        database_of(connection.dialect).visibility.refresh(connection, visits)
        connection.commit()
        assert contradicts(connection, 0, visits) == 4

    def test_a_partition_that_is_being_detached_is_not_read_any_more(
        self, connection: Connection, database: Database
    ) -> None:
        run(
            connection,
            "CREATE TABLE visits (id INT) PARTITION BY RANGE (id)",
            "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10)",
            "INSERT INTO visits VALUES (1)",
        )
        assert hidden(connection, "visits") == ""
        connection.commit()
        with create_engine(database.url, poolclass=NullPool).connect() as other:
            other.execute(text("SELECT * FROM visits")).all()  # the transaction stays open
            with connection.execution_options(isolation_level="AUTOCOMMIT"):
                connection.execute(text("SET lock_timeout = '100ms'"))
                with pytest.raises(DBAPIError, match="lock timeout"):
                    connection.execute(text("ALTER TABLE visits DETACH PARTITION visits_1 CONCURRENTLY"))
                assert connection.execute(text("SELECT count(*) FROM visits")).scalar_one() == 0
                assert "FINALIZE" in hidden(connection, "visits")


@MARIADB
class TestMariaDB:
    def test_old_versions_of_rows_are_seen_by_no_count(self, connection: Connection) -> None:
        run(connection, "ALTER TABLE people ADD SYSTEM VERSIONING")
        assert "system-versioned" in hidden(connection)

    def test_engines_that_keep_no_rows_are_named(self, connection: Connection) -> None:
        run(connection, "CREATE TABLE mine (id INT) ENGINE = MyISAM")
        run(connection, "CREATE TABLE merged (id INT) ENGINE = MERGE UNION = (mine)")
        assert "MRG_MyISAM" in hidden(connection, "merged")
        assert hidden(connection, "mine") == ""

    def test_results_that_are_cut_off_are_no_count(self, connection: Connection) -> None:
        run(connection, "SET SESSION sql_select_limit = 1000")
        assert "sql_select_limit" in hidden(connection)

    def test_many_rows_contradict_a_count_of_none(self, connection: Connection) -> None:
        run(connection, "INSERT INTO people SELECT seq, 'x' FROM seq_10_to_9000")
        database_of(connection.dialect).visibility.refresh(connection, people)
        assert contradicts(connection, 0) > 1000
        assert contradicts(connection, 8994) == 0


@SQLITE
class TestSQLite:
    def test_a_virtual_table_keeps_its_rows_elsewhere(self, connection: Connection) -> None:
        run(connection, "CREATE VIRTUAL TABLE words USING fts5(word)")
        assert "virtual" in hidden(connection, "words")
