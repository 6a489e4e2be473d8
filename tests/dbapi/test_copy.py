"""Rows that psycopg copies into a protected table are sealed on their way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.dbapi.copying import AT_ONCE
from sqlalchemy_cmk.format import is_header
from sqlalchemy_cmk.search import Exact
from tests.conftest import empty_database
from tests.dbapi.conftest import Clinic
from tests.support.databases import Database
from tests.support.vault import Vault

COPY = "COPY patients (id, clinic, ssn, email) FROM STDIN"


@pytest.fixture(params=["postgresql"])
def postgresql(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from empty_database(request)


@pytest.fixture
def clinic(postgresql: Database, tmp_path: Path) -> Iterator[Clinic]:
    vault = Vault(postgresql.url, tmp_path)
    clinic = Clinic(vault)
    yield clinic
    clinic.close()
    vault.close()


def test_rows_are_sealed_on_their_way(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    cursor = connection.cursor()
    rows = [(i, "acme" if i % 2 else "globex", f"ssn {i}", None) for i in range(1203)]
    with cursor.copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
    connection.commit()
    cursor.execute("SELECT id, clinic, ssn, email FROM patients ORDER BY id")
    assert cursor.fetchall() == rows
    assert all(is_header(bytes(row[0])[:9]) for row in clinic.vault.raw("SELECT ssn FROM patients"))
    with cursor.copy("COPY places (id, name) FROM STDIN") as copy:
        copy.write("1\there\n")
    cursor.execute("SELECT id, name FROM places")
    assert cursor.fetchall() == [(1, "here")]


def test_rows_of_many_tenants_and_tables_are_copied(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    cursor = connection.cursor()
    rows: list[tuple[Any, ...]] = [(i, f"tenant {i % 7}", f"ssn {i}", f"{i}@x") for i in range(50)]
    rows += [(101, "acme", None, "x")]
    with cursor.copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
    with cursor.copy("COPY notes (id, text) FROM STDIN") as copy:
        copy.write_row((1, {"a": 1}))
        copy.write_row((2, ["b"]))
    connection.commit()
    cursor.execute("SELECT id, clinic, ssn, email FROM patients WHERE ssn IS NOT NULL ORDER BY id")
    assert cursor.fetchall() == rows[:50]
    stored = clinic.vault.raw("SELECT clinic, ssn FROM patients WHERE ssn IS NOT NULL")
    assert all(clinic.vault.owner(value) == tenant for tenant, value in stored)
    cursor.execute("SELECT id, text FROM notes ORDER BY id")
    assert cursor.fetchall() == [(1, {"a": 1}), (2, ["b"])]


def test_tokens_are_copied_beside_their_values(clinic: Clinic) -> None:
    class Person(clinic.vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(20))
        last: Mapped[str | None] = mapped_column(EncryptedType(String(20), index=[Exact()]))

    clinic.vault.create()
    connection = clinic.wrapped()
    cursor = connection.cursor()
    with cursor.copy("COPY people (id, clinic, last) FROM STDIN") as copy:
        for i in range(AT_ONCE + 5):
            copy.write_row((i, "acme", f"last {i}"))
    connection.commit()
    for number in (3, AT_ONCE + 3):
        cursor.execute("SELECT id FROM people WHERE clinic = 'acme' AND last = %s", (f"last {number}",))
        assert cursor.fetchall() == [(number,)]


def test_what_cannot_be_sealed_is_refused(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    cursor = connection.cursor()
    for statement in ("COPY patients FROM STDIN", f"{COPY} WITH BINARY"):
        with pytest.raises(UnsupportedOperation, match="FROM STDIN"):
            cursor.copy(statement)
    for statement in ("COPY patients (ssn) TO STDOUT", "COPY (SELECT ssn FROM patients) TO STDOUT"):
        with pytest.raises(UnsupportedOperation, match="fetchmany"):
            cursor.copy(statement)
        with pytest.raises(UnsupportedOperation):
            cursor.execute(statement)
    with pytest.raises(UnsupportedOperation, match="write_row"), cursor.copy(COPY) as copy:
        copy.write("1\tacme\tplain\t\n")
    with pytest.raises(TenantRequired), cursor.copy(COPY) as copy:
        copy.write_row((1, None, "x", None))
    with pytest.raises(TenantRequired), cursor.copy(COPY) as copy:
        copy.write_row((1, "", "x", None))
    with pytest.raises(UnsupportedOperation, match="number"), cursor.copy(COPY) as copy:
        copy.write_row((1, "acme", "x"))
    connection.rollback()
    cursor.execute("SELECT COUNT(*) FROM patients")
    assert cursor.fetchone() == (0,)


def test_rows_are_opened_by_a_cursor_of_the_server(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    rows = [(i, "acme", f"ssn {i}", None) for i in range(7)]
    with connection.cursor().copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
    cursor = connection.cursor("all_patients")
    cursor.execute("SELECT id, clinic, ssn, email FROM patients ORDER BY id")
    assert cursor.fetchmany(2) == rows[:2]
    assert list(cursor) == rows[2:]
    cursor.close()
