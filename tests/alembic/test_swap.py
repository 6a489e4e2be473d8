"""A swap puts nothing but the value of every row in the column's place, and holds nobody up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Numeric, String, event, insert, select, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import EncryptedType, RunInterrupted, TamperedError, tenant_scope
from sqlalchemy_cmk.alembic.conversion import verification
from tests.alembic.adopting import Adoption, adoption
from tests.support.databases import Database


@pytest.fixture
def adopted(database: Database, tmp_path: Path) -> Iterator[Adoption]:
    """A table of plain values on each database."""
    with adoption(database.url, tmp_path) as made:
        yield made


def only(*names: str) -> pytest.MarkDecorator:
    """Run a test on some kinds of databases."""
    return pytest.mark.parametrize("database", names, indirect=True)


def copied(adopted: Adoption, *statements: str) -> dict[int, str]:
    """Fill the table and copy its column; return the values of its rows."""
    adopted.create(*statements)
    adopted.fill(4)
    adopted.seal(phase="expand")
    adopted.seal(phase="copy")
    return {row[0]: row[2] for row in adopted.stored()}


def swapped(adopted: Adoption) -> dict[int, str]:
    """Swap, and return the values as their tenants read them."""
    adopted.seal(phase="swap")
    return {row[0]: row[2] for row in adopted.opened()}


@contextmanager
def without_trigger(adopted: Adoption) -> Iterator[None]:
    """Run the block with no trigger, and have each as it was afterwards."""
    queries = {
        "postgresql": "SELECT tgname, 'ALTER TABLE patients ENABLE ALWAYS TRIGGER ' || tgname "
        "FROM pg_trigger WHERE NOT tgisinternal",
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'",
        "mariadb": "SELECT trigger_name, concat('CREATE TRIGGER ', trigger_name, ' BEFORE UPDATE ON patients "
        "FOR EACH ROW ', action_statement) FROM information_schema.triggers "
        "WHERE trigger_schema = database()",
    }
    name = adopted.engine.dialect.name
    off = "ALTER TABLE patients DISABLE TRIGGER" if name == "postgresql" else "DROP TRIGGER"
    with adopted.engine.connect() as connection:
        triggers = connection.execute(text(queries[name])).all()
    adopted.run(*(f"{off} {trigger}" for trigger, _ in triggers))
    yield
    adopted.run(*(statement for _, statement in triggers))


def test_what_was_written_past_the_trigger_is_copied_again(adopted: Adoption) -> None:
    values = copied(adopted)
    with without_trigger(adopted):
        adopted.run(
            "UPDATE patients SET ssn = 'new' WHERE id = 1",
            "UPDATE patients SET ssn = NULL WHERE id = 2",
            "UPDATE patients SET clinic_id = 'acme' WHERE id = 3",
            "UPDATE patients SET ssn__cmk = (SELECT s FROM (SELECT ssn__cmk AS s FROM patients "
            "WHERE id = 2) other) WHERE id = 4",
        )
    assert swapped(adopted) == values | {1: "new", 2: None}


def test_what_is_written_past_the_trigger_during_the_swap_is_found_under_its_lock(
    adopted: Adoption, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = copied(adopted)
    ahead = verification.Verification.ahead

    def compared(self: Any) -> bool:
        emptied = ahead(self)
        with without_trigger(adopted):
            adopted.run(
                "UPDATE patients SET ssn = 'new' WHERE id = 1",
                "INSERT INTO patients (id, clinic_id, ssn) VALUES (5, 'acme', 'newer')",
                "DELETE FROM patients WHERE id = 2",
            )
        return emptied

    monkeypatch.setattr(verification.Verification, "ahead", compared)
    del values[2]
    assert swapped(adopted) == values | {1: "new", 5: "newer"}


@only("postgresql")
def test_a_replica_writes_past_no_trigger_of_a_conversion(adopted: Adoption) -> None:
    values = copied(adopted)
    with adopted.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE patients SET ssn = 'new' WHERE id = 1"))
        assert connection.scalar(text("SELECT ssn__cmk FROM patients WHERE id = 1")) is None
    assert swapped(adopted) == values | {1: "new"}


@only("mariadb")
def test_a_foreign_key_that_renames_a_tenant_leaves_its_rows_readable(adopted: Adoption) -> None:
    values = copied(
        adopted,
        "CREATE TABLE clinics (name VARCHAR(40) PRIMARY KEY)",
        "INSERT INTO clinics VALUES ('acme'), ('globex')",
        "CREATE TABLE patients (id INT PRIMARY KEY, clinic_id VARCHAR(40) NOT NULL, ssn VARCHAR(11), "
        "FOREIGN KEY (clinic_id) REFERENCES clinics (name) ON UPDATE CASCADE)",
    )
    adopted.run("UPDATE clinics SET name = 'globex2' WHERE name = 'globex'")
    adopted.seal(phase="swap")
    with adopted.engine.connect() as connection, tenant_scope("globex2"):
        table = adopted.table
        query = select(table.c.id, table.c.ssn).where(table.c.clinic_id == "globex2")
        moved = dict(map(tuple, connection.execute(query)))
    assert moved == {i: value for i, value in values.items() if i % 2}


@only("mariadb")
def test_an_insert_that_checks_no_constraint_is_not_lost(
    adopted: Adoption, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = copied(adopted)
    ahead = verification.Verification.ahead

    def compared(self: Any) -> bool:
        emptied = ahead(self)
        with adopted.engine.begin() as connection:
            connection.execute(text("SET check_constraint_checks = 0"))
            connection.execute(text("INSERT INTO patients VALUES (5, 'acme', 'new', NULL)"))
        return emptied

    monkeypatch.setattr(verification.Verification, "ahead", compared)
    assert swapped(adopted) == values | {5: "new"}


def test_a_base_row_that_changes_its_tenant_takes_the_value_along(adopted: Adoption) -> None:
    adopted.create()
    adopted.run(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, clinic_id VARCHAR(40) NOT NULL)",
        "CREATE TABLE doctors (id INTEGER PRIMARY KEY REFERENCES people (id), ssn VARCHAR(11))",
        "INSERT INTO people VALUES (1, 'acme'), (2, 'acme')",
        "INSERT INTO doctors VALUES (1, 'one'), (2, 'two')",
    )
    plain, sealed, whose = String(11), EncryptedType(String(11)), ("people", "clinic_id")

    def seal(phase: str) -> None:
        options = {"existing_type": plain, "tenant_column": whose, "phase": phase}
        adopted.migrate(lambda op: op.encrypt_column("doctors", "ssn", sealed, **options))

    seal("expand")
    seal("copy")
    adopted.run("UPDATE people SET clinic_id = 'globex' WHERE id = 2")
    seal("swap")
    # Opened for the tenants that the rows have now.
    options = {"existing_type": sealed, "tenant_column": whose}
    adopted.migrate(lambda op: op.decrypt_column("doctors", "ssn", plain, **options))
    with adopted.engine.connect() as connection:
        assert connection.scalars(text("SELECT ssn FROM doctors ORDER BY id")).all() == ["one", "two"]


def test_a_table_that_is_written_all_the_time_is_finished(adopted: Adoption) -> None:
    adopted.create()
    adopted.fill(50)
    adopted.seal(phase="expand")
    written = {row[0]: row[2] for row in adopted.stored()}
    thread = threading.Thread(target=write_until_the_swap, args=(adopted, written))
    thread.start()
    while len(written) < 60:
        assert thread.is_alive()
        thread.join(0.01)
    adopted.seal()
    thread.join()
    assert {row[0]: row[2] for row in adopted.opened()} == written


def write_until_the_swap(adopted: Adoption, written: dict[int, str]) -> None:
    """Be an old version of the application that inserts and updates a hundred times a second."""
    engine = adopted.engine.execution_options(isolation_level="AUTOCOMMIT")
    begin = "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "BEGIN"
    statements = (
        "INSERT INTO patients (id, clinic_id, ssn) VALUES (:new, 'acme', :ssn)",
        "UPDATE patients SET ssn = :ssn WHERE id = :old",
    )
    with engine.connect() as connection:
        for number in count(1000):
            connection.exec_driver_sql(begin)
            try:  # in this transaction the columns do not change places any more
                connection.execute(text("SELECT ssn__cmk FROM patients LIMIT 1"))
                is_over = False
            except DBAPIError:
                is_over = True
            row = {"new": number, "old": number % 50 + 1, "ssn": f"{number}"}
            for statement in () if is_over else statements:
                connection.execute(text(statement), row)
            connection.exec_driver_sql("ROLLBACK" if is_over else "COMMIT")
            if is_over:
                return
            written |= dict.fromkeys((number, number % 50 + 1), f"{number}")
            time.sleep(0.01)


@only("postgresql", "mariadb")
def test_an_idle_reader_holds_up_the_swap_and_no_other_reader(
    adopted: Adoption, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sqlalchemy_cmk")
    values = copied(adopted)
    with adopted.engine.connect() as idle:
        idle.execute(text("SELECT count(*) FROM patients"))
        thread = threading.Thread(target=adopted.seal, kwargs={"phase": "swap"})
        thread.start()
        while "others hold the table" not in caplog.text:
            assert thread.is_alive()
            thread.join(0.01)
        with adopted.engine.connect() as other:  # though the swap still waits for the idle one
            assert other.scalar(text("SELECT count(*) FROM patients")) == 4
        assert thread.is_alive()
        idle.rollback()
        thread.join()
    assert {row[0]: row[2] for row in adopted.opened()} == values


@only("postgresql", "mariadb")
def test_a_value_that_does_not_come_back_as_it_was_is_refused(database: Database, tmp_path: Path) -> None:
    with adoption(database.url, tmp_path, plain=Numeric(8, 3)) as adopted:
        adopted.create()
        adopted.seal()
        with adopted.engine.begin() as connection, tenant_scope("acme"):
            row = {"id": 1, "clinic_id": "acme", "ssn": Decimal("1.234")}
            connection.execute(insert(adopted.table), [row])
        adopted.plain = Numeric(8, 2)  # the database rounds what the migration copies
        with pytest.raises(
            TamperedError, match=r"patients.ssn: 1 values do not come back as they were"
        ) as found:
            adopted.open()
        assert "1.23" not in str(found.value)
        assert adopted.opened() == [(1, "acme", Decimal("1.234"))]


@only("postgresql")
@pytest.mark.drivers("sync")
@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_a_commit_whose_answer_is_lost_is_said_to_be_and_the_next_run_finishes(
    adopted: Adoption, moment: str
) -> None:
    """Killed before COMMIT it was not committed, killed after it it was: the migration cannot know."""
    values, statements = copied(adopted), list[str]()

    def kill(connection: Connection, _: object, statement: str, *__: object) -> None:
        statements.append(statement)
        if statement == "COMMIT" and any("RENAME COLUMN" in one for one in statements):
            pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            event.remove(adopted.engine, moment, kill)
            adopted.run(f"SELECT pg_terminate_backend({pid}, 60000)")

    event.listen(adopted.engine, moment, kill)
    with pytest.raises(RunInterrupted, match=r"connection.*lost.*not known.*run the migration again"):
        adopted.seal(phase="swap")
    assert swapped(adopted) == values
