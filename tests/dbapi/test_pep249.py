"""A wrapped connection behaves as the driver's own, but for what it seals, opens and refuses."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import String, insert
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    TamperedError,
    TenantRequired,
    UnsupportedOperation,
)
from sqlalchemy_cmk.dbapi import wrap
from sqlalchemy_cmk.hooks.fetch import AT_ONCE
from tests.dbapi.conftest import Clinic
from tests.dbapi.drivers import ALL
from tests.support.vault import Vault

COUNT = 2 * AT_ONCE + 7
SELECT = "SELECT id, clinic, ssn FROM patients ORDER BY id"
PLAIN = "SELECT id, clinic, title FROM patients ORDER BY id"


@pytest.fixture
def many(clinic: Clinic) -> Clinic:
    rows = [{"id": i, "clinic": "acme", "ssn": str(i), "title": str(i)} for i in range(COUNT)]
    with clinic.vault.engine.begin() as connection:
        connection.execute(insert(clinic.Patient), rows)
    return clinic


def fetched(cursor: Any) -> list[Any]:
    """Rows as every way of fetching gives them."""
    found: list[Any] = [cursor.fetchone(), *cursor.fetchmany(3)]
    cursor.arraysize = 2
    found += cursor.fetchmany()
    found += [row for _, row in zip(range(2), cursor, strict=False)]
    found += cursor.fetchmany(AT_ONCE)
    found += cursor.fetchall()
    assert cursor.fetchone() is None
    assert list(cursor.fetchmany(2)) == [] == list(cursor.fetchall())
    return found


def test_rows_are_fetched_as_the_drivers_cursor_gives_them(many: Clinic) -> None:
    raw, wrapped = many.connect().cursor(), many.wrapped().cursor()
    raw.execute(PLAIN)
    wrapped.execute(SELECT)
    assert fetched(wrapped) == fetched(raw)
    assert wrapped.rowcount == raw.rowcount
    assert [one[0] for one in wrapped.description] == ["id", "clinic", "ssn"]


def test_plain_statements_are_the_drivers_own(many: Clinic) -> None:
    raw, wrapped = many.connect(), many.wrapped()
    for connection in (raw, wrapped):
        cursor = connection.cursor()
        cursor.execute("INSERT INTO places (id, name) VALUES (1, '%')")
        assert cursor.rowcount == 1
        cursor.execute(many.mark("SELECT id, name FROM places WHERE id = ?"), (1,))
        assert list(cursor.fetchall()) == [(1, "%")]
        connection.rollback()
        cursor.execute("SELECT COUNT(*) FROM places")
        assert cursor.fetchone() == (0,)
        connection.rollback()


def test_errors_are_the_drivers(clinic: Clinic) -> None:
    driver = clinic.vault.engine.dialect.loaded_dbapi
    for statement, parameters in (
        ("SELECT nothing FROM patients", ()),
        ("INSERT INTO patients (id, clinic, ssn) VALUES (1, ?, ?)", ("secret",)),
        ("INSERT INTO patients (id, clinic, ssn) VALUES (1, ?, ?)", ("acme", "secret", "secret")),
    ):
        connection = clinic.wrapped()
        with pytest.raises((driver.Error, TypeError)) as caught:
            connection.cursor().execute(clinic.mark(statement), parameters)
        assert "secret" not in str(caught.value)


def test_procedures_scripts_and_composed_statements_are_refused(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    with pytest.raises(UnsupportedOperation):
        connection.cursor().callproc("admit", ("secret",))
    with pytest.raises(UnsupportedOperation):
        connection.executescript("SELECT 1")
    with pytest.raises(UnsupportedOperation):
        connection.cursor().executescript("SELECT 1")


@pytest.mark.parametrize("driver", ALL, indirect=True)
def test_a_view_over_a_protected_table_is_refused(clinic: Clinic) -> None:
    engine, views = clinic.vault.engine, ["admitted", "first_admitted"]
    made = ["CREATE VIEW admitted AS SELECT * FROM patients"]
    made.append("CREATE VIEW first_admitted AS SELECT * FROM admitted")
    if engine.name == "postgresql":
        made += [
            "CREATE MATERIALIZED VIEW counted AS SELECT * FROM admitted",
            "CREATE SCHEMA other",
            "CREATE VIEW other.seen AS SELECT * FROM public.patients",
            # Beside a plain table of this name, which is not meant.
            "CREATE VIEW other.places AS SELECT * FROM public.patients",
            "CREATE TABLE part () INHERITS (patients)",
        ]
        views += ["counted", "other.seen", "seen", "OTHER.Places", "part"]
    with engine.begin() as connection:
        for statement in made:
            connection.exec_driver_sql(statement)
    cursor = clinic.wrapped().cursor()
    for name in views:
        with pytest.raises(UnsupportedOperation, match="view"):
            cursor.execute(f"SELECT ssn FROM {name}")
        with pytest.raises(UnsupportedOperation, match="view"):
            cursor.execute(clinic.mark(f"INSERT INTO {name} (id, clinic, ssn) VALUES (1, 'acme', ?)"), ("x",))
    cursor.execute("SELECT name FROM places")
    assert list(cursor.fetchall()) == []


def test_a_declared_table_that_is_a_view_over_a_protected_one_is_refused(one: Clinic) -> None:
    with one.vault.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE places")
        connection.exec_driver_sql("CREATE VIEW places AS SELECT id, ssn AS name FROM patients")
    with pytest.raises(UnsupportedOperation, match="view"):
        one.wrapped().cursor().execute("SELECT name FROM places")
    one.close()


def test_a_transaction_that_is_under_way_goes_on(clinic: Clinic) -> None:
    raw = clinic.connect()
    raw.cursor().execute("INSERT INTO places (id, name) VALUES (1, 'x')")
    wrapped = wrap(raw, clinic.vault.keyring, clinic.vault.base)
    cursor = wrapped.cursor()
    cursor.execute("SELECT COUNT(*) FROM places")
    assert cursor.fetchone() == (1,)
    wrapped.rollback()
    cursor.execute("SELECT COUNT(*) FROM places")
    assert cursor.fetchone() == (0,)
    wrapped.rollback()


def test_a_result_with_other_columns_than_the_models_is_opened_by_name(many: Clinic) -> None:
    with many.vault.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE patients ADD COLUMN added INTEGER")
    cursor = many.wrapped().cursor()
    cursor.execute("SELECT p.*, p.id FROM patients p WHERE id = 5")
    assert list(cursor.fetchall()) == [(5, "acme", "5", None, "5", None, 5)]
    with pytest.raises(UnsupportedOperation, match="name the columns"):
        cursor.execute("SELECT p.*, q.* FROM patients p JOIN patients q ON p.id = q.id")


def test_what_cannot_be_opened_is_not_handed_out(many: Clinic) -> None:
    with many.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET clinic = 'globex' WHERE id = 3")
    cursor = many.wrapped().cursor()
    cursor.execute(SELECT)
    with pytest.raises(TamperedError):
        cursor.fetchall()
    cursor.execute("SELECT ssn FROM patients")
    with pytest.raises(TenantRequired):
        cursor.fetchone()


@pytest.fixture
def one(make_vault: Callable[..., Vault]) -> Clinic:
    return Clinic(make_vault())


def test_only_a_served_database_of_a_known_driver_is_wrapped(one: Clinic, make_vault: Any) -> None:
    vault = one.vault
    with pytest.raises(ConfigurationError, match="cannot be wrapped"):
        wrap(object(), vault.keyring, vault.base)
    with pytest.raises(ConfigurationError, match="protect"):
        wrap(one.connect(), make_vault().keyring, vault.base)
    with pytest.raises(ConfigurationError, match="one database"):
        wrap(sqlite3.connect(":memory:"), vault.keyring, vault.base)
    one.close()


def test_rows_of_another_kind_are_not_opened(one: Clinic) -> None:
    connection = one.wrapped()
    cursor = connection.cursor()
    cursor.execute("INSERT INTO patients (id, clinic, ssn) VALUES (1, 'acme', :ssn)", {"ssn": "x"})
    cursor.execute("SELECT ssn, clinic FROM patients WHERE id = :id", {"id": 1})
    assert cursor.fetchall() == [("x", "acme")]
    connection.row_factory = sqlite3.Row
    with pytest.raises(UnsupportedOperation, match="row_factory"):
        connection.execute(SELECT).fetchall()
    one.close()


def test_tables_that_are_declared_later_are_protected_too(one: Clinic) -> None:
    connection = one.wrapped()

    class Later(one.vault.base):
        __tablename__ = "later"
        __cmk_tenant__ = None
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(EncryptedType(String(20)))

    one.vault.create()
    connection.execute("INSERT INTO later (id, text) VALUES (1, ?)", ("x",))
    assert connection.execute("SELECT text FROM later").fetchall() == [("x",)]
    assert isinstance(connection._raw.execute("SELECT text FROM later").fetchone()[0], bytes)
    with pytest.raises(UnsupportedOperation, match="scroll"):
        connection.execute("SELECT text FROM later").scroll(0)
    one.close()


def test_in_a_dry_run_values_are_stored_as_they_are(make_vault: Callable[..., Vault]) -> None:
    clinic = Clinic(make_vault(dry_run=True))
    connection = clinic.wrapped()
    connection.execute("INSERT INTO patients (id, clinic, ssn) VALUES (1, 'acme', ?)", ("x",))
    assert connection.execute("SELECT ssn FROM patients").fetchall() == [("x",)]
    clinic.close()


def test_a_statement_is_read_once(one: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = one.wrapped().cursor()
    cursor.execute(SELECT)
    monkeypatch.setattr("sqlalchemy_cmk.dbapi.statements.read_statement", None)
    cursor.execute(SELECT)
    one.close()
