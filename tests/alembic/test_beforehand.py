"""What a conversion could not finish is refused beforehand, and what keeps copies of values is named."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk import ConfigurationError, RunInterrupted
from sqlalchemy_cmk.rekey import scrub
from tests.alembic.adopting import Adoption, adoption
from tests.conftest import empty_database
from tests.support.databases import server_database
from tests.support.own_servers import mariadb_server

Make = Callable[..., Adoption]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes a table by SQL on a database of a kind."""
    with ExitStack() as stack:

        def make(kind: str, *statements: str, plain: TypeEngine[Any] | None = None) -> Adoption:
            request.param = kind
            database = stack.enter_context(contextmanager(empty_database)(request))
            made = stack.enter_context(adoption(database.url, tmp_path, plain=plain))
            made.create(*statements)
            return made

        yield make


PATIENTS = "CREATE TABLE patients (id {}, clinic_id VARCHAR(40), ssn VARCHAR(11){})"
ODD = {
    "a TIME of 30 hours": ("mariadb", "TIME PRIMARY KEY", "'30:00:00'", "times below zero or of 24 hours"),
    "a negative TIME": ("mariadb", "TIME PRIMARY KEY", "'-01:00:00'", "times below zero or of 24 hours"),
    "a FLOAT, MariaDB": ("mariadb", "FLOAT PRIMARY KEY", "1.1", "of type FLOAT"),
    "a FLOAT, PostgreSQL": ("postgresql", "REAL PRIMARY KEY", "1.1", "of type REAL"),
    "a SET": ("mariadb", "SET('a', 'b') PRIMARY KEY", "'a,b'", "of type SET"),
    "an ENUM": ("mariadb", "ENUM('b', 'a') PRIMARY KEY", "'a'", "of type ENUM"),
    "an infinite date": ("postgresql", "DATE PRIMARY KEY", "'infinity'", "infinite dates"),
    "NULL": ("sqlite", "VARCHAR(9) PRIMARY KEY", "NULL", "holds NULL in id"),
    "a number in a text": ("sqlite", "TEXT PRIMARY KEY", "X'01'", "values of the type blob"),
    "a text in a number": ("sqlite", "INT PRIMARY KEY", "'seven'", "values of the type text"),
    "two types": ("sqlite", "PRIMARY KEY", "1), ('b'", "type integer, and not text"),
}


@pytest.mark.parametrize(("kind", "case"), [(of_case[0], case) for case, of_case in ODD.items()])
def test_a_key_by_which_rows_are_not_found_again_is_refused_by_name(kind: str, case: str, make: Make) -> None:
    _, key, value, reason = ODD[case]
    values = value.replace("), (", ", 'acme', NULL), (")
    rows = f"INSERT INTO patients VALUES ({values}, 'acme', 'Wolfgang')"
    made = make(kind, PATIENTS.format(key, ""), rows)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        made.seal()
    assert "id" in str(caught.value) and "Wolfgang" not in str(caught.value)
    assert shape(made) == ["id", "clinic_id", "ssn"]


def shape(made: Adoption) -> list[str]:
    return [one["name"] for one in inspect(made.engine).get_columns("patients")]


KEYED = PATIENTS.format("INTEGER PRIMARY KEY", "")
ROW = "INSERT INTO patients VALUES (1, 'acme', 'Wolfgang')"
RETURNS_NULL = (
    "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "CREATE TRIGGER forgets BEFORE UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION forget()",
)
COMPLAINS = {
    "postgresql": (
        "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not %', NEW.ssn; END $$",
        "CREATE TRIGGER complains BEFORE UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION complain()",
    ),
    "mariadb": (
        "CREATE TRIGGER complains BEFORE UPDATE ON patients FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.ssn",
    ),
    "sqlite": ("CREATE TRIGGER complains BEFORE UPDATE ON patients BEGIN SELECT RAISE(ABORT, 'no'); END",),
}


@pytest.mark.parametrize("kind", COMPLAINS)
def test_a_trigger_that_refuses_updates_is_named(kind: str, make: Make) -> None:
    made = make(kind, KEYED, ROW, *COMPLAINS[kind])
    with pytest.raises(ConfigurationError, match=r"does not let the engine write a row.*complains") as caught:
        made.seal()
    assert "Wolfgang" not in str(caught.value)
    assert shape(made) == ["id", "clinic_id", "ssn"]


@pytest.mark.kind("postgresql")
def test_a_trigger_that_returns_null_is_named(make: Make) -> None:
    made = make("postgresql", KEYED, ROW, *RETURNS_NULL)
    with pytest.raises(ConfigurationError, match=r"wrote none.*forgets: one raises, or returns NULL"):
        made.seal()
    assert shape(made) == ["id", "clinic_id", "ssn"]


def test_a_strict_table_is_refused_unless_its_column_takes_any_value(make: Make) -> None:
    strict = "CREATE TABLE patients (id INTEGER PRIMARY KEY, clinic_id TEXT, ssn {}) STRICT"
    with pytest.raises(ConfigurationError, match=r"patients is a STRICT table, whose column ssn is TEXT"):
        make("sqlite", strict.format("TEXT"), ROW).seal()


def test_a_strict_column_of_any_type_is_sealed(make: Make) -> None:
    made = make(
        "sqlite", "CREATE TABLE patients (id INTEGER PRIMARY KEY, clinic_id TEXT, ssn ANY) STRICT", ROW
    )
    made.seal()
    assert made.opened() == [(1, "acme", "Wolfgang")]


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
def test_an_index_that_computes_with_the_column_is_refused_by_name(make: Make) -> None:
    made = make("sqlite", KEYED, ROW, "CREATE INDEX lowered ON patients (lower(ssn))")
    with pytest.raises(ConfigurationError, match=r"the index lowered computes with its value"):
        made.seal()


def test_a_binary_log_of_statements_is_refused_and_one_of_rows_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--log-bin=log", "--server-id=1", "--binlog-format=STATEMENT")
    with (
        mariadb_server(*options) as server,
        server_database("mariadb", server.url) as database,
        adoption(database.url, tmp_path) as made,
    ):
        made.create(KEYED, ROW)
        with pytest.raises(ConfigurationError, match=r"patients is on a server whose binlog_format"):
            made.seal()
        assert shape(made) == ["id", "clinic_id", "ssn"]
        made.run("SET GLOBAL binlog_format = 'MIXED'")
        made.reconnect()
        made.seal()
        assert "The binary log is on" in caplog.text
        assert made.opened() == [(1, "acme", "Wolfgang")]


@pytest.mark.kind("postgresql")
def test_what_the_database_refuses_of_a_migration_is_a_sentence_without_a_value(make: Make) -> None:
    made = make("postgresql", KEYED, ROW)
    made.run(
        "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not with Wolfgang'; END $$",
        "CREATE EVENT TRIGGER forbidden ON ddl_command_start WHEN TAG IN ('ALTER TABLE') "
        "EXECUTE FUNCTION forbid()",
    )
    said = r"patients.ssn: the database refused a statement .*P0001"
    with pytest.raises(RunInterrupted, match=said) as caught:
        made.seal()
    error: BaseException | None = caught.value
    while error is not None:
        assert "Wolfgang" not in str(error)
        error = error.__cause__ or error.__context__
    made.run("DROP EVENT TRIGGER forbidden")
    made.seal()
    assert made.opened() == [(1, "acme", "Wolfgang")]


AUDITED = {
    "sqlite": (
        "CREATE TABLE audit (id INTEGER, old TEXT)",
        "CREATE TRIGGER audited AFTER UPDATE ON patients "
        "BEGIN INSERT INTO audit VALUES (OLD.id, OLD.ssn); END",
        "CREATE VIRTUAL TABLE words USING fts5(ssn)",
    ),
    "postgresql": (
        "ALTER TABLE patients ADD COLUMN words tsvector",
        "CREATE TABLE audit (id INTEGER, old TEXT)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO audit VALUES (OLD.id, OLD.ssn); RETURN NEW; END $$",
        "CREATE TRIGGER audited AFTER UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE MATERIALIZED VIEW kept AS SELECT id FROM patients",
        "CREATE PUBLICATION sent FOR TABLE patients",
    ),
    "mariadb": (
        "CREATE TABLE audit (id INTEGER, old TEXT)",
        "CREATE TRIGGER audited AFTER UPDATE ON patients FOR EACH ROW "
        "INSERT INTO audit VALUES (OLD.id, OLD.ssn)",
        "ALTER TABLE patients ADD COLUMN note TEXT, ADD FULLTEXT INDEX words (note)",
    ),
}
NAMED = {
    "sqlite": ("audited", "full-text table words"),
    "postgresql": ("audited", "column words", "materialized view kept", "publication sent"),
    "mariadb": ("audited", "FULLTEXT index words"),
}


@pytest.mark.parametrize("kind", AUDITED)
def test_what_keeps_copies_is_named_before_the_start_and_by_scrub(
    kind: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = make(kind, KEYED, ROW, *AUDITED[kind])
    made.seal()
    warned = " ".join(one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert all(name in warned for name in NAMED[kind]) and "Wolfgang" not in warned
    engine = create_engine(made.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        told = " ".join(scrub(connection, "patients"))
    engine.dispose()
    assert all(name in told for name in NAMED[kind])
    assert "zz_cmk" not in warned + told
