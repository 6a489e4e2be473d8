"""SQL that is written by hand through a wrapped connection writes and reads what the ORM does."""

from typing import Any

import pytest
from sqlalchemy import insert, select

from sqlalchemy_cmk import (
    CmkError,
    InvalidValue,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.format import is_header
from tests.dbapi.conftest import Clinic
from tests.dbapi.drivers import ALL

pytestmark = pytest.mark.parametrize("driver", ALL, indirect=True)

ROWS = [
    (1, "acme", "ssn 1", "a@x", "Ms"),
    (2, "acme", "ssn 2", "b@x", None),
    (3, "globex", "ssn 3", "a@x", "Mr"),
    (4, "globex", None, None, None),
]
INSERT = "INSERT INTO patients (id, clinic, ssn, email, title) VALUES (?, ?, ?, ?, ?)"
SELECT = "SELECT id, clinic, ssn, email, title FROM patients ORDER BY id"


@pytest.fixture
def filled(clinic: Clinic) -> Clinic:
    with clinic.vault.engine.begin() as connection:
        names = ("id", "clinic", "ssn", "email", "title")
        connection.execute(insert(clinic.Patient), [dict(zip(names, row, strict=True)) for row in ROWS])
        connection.execute(insert(clinic.Place), [{"id": 1, "name": "here"}, {"id": 2, "name": "there"}])
    return clinic


def stored(clinic: Clinic, column: str = "ssn") -> list[Any]:
    return [row[0] for row in clinic.vault.raw(f"SELECT {column} FROM patients ORDER BY id")]


def read(cursor: Any, statement: str) -> list[Any]:
    cursor.execute(statement)
    return list(cursor.fetchall())


def test_what_a_cursor_writes_the_orm_reads(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    cursor = connection.cursor()
    cursor.execute(clinic.mark(INSERT), ROWS[0])
    cursor.executemany(clinic.mark(INSERT), ROWS[1:])
    assert cursor.rowcount == 3 or not clinic.driver.counts_many
    connection.commit()
    with clinic.vault.session() as session:
        found = session.execute(select(*clinic.Patient.__table__.c).order_by(clinic.Patient.id)).all()
    assert [tuple(row) for row in found] == ROWS
    assert all(is_header(bytes(one)[:9]) for one in stored(clinic) if one is not None)
    assert [clinic.vault.owner(one) for one in stored(clinic)[:3]] == ["acme", "acme", "globex"]


def test_what_the_orm_writes_a_cursor_reads(filled: Clinic) -> None:
    cursor = filled.wrapped().cursor()
    cursor.execute(SELECT)
    assert list(cursor.fetchall()) == ROWS
    cursor.execute("SELECT * FROM patients ORDER BY id")
    assert list(cursor.fetchall()) == ROWS


FOUND: list[tuple[str, list[Any]]] = [
    ("SELECT p.ssn AS s, p.clinic FROM patients p WHERE p.id = 1", [("ssn 1", "acme")]),
    ("SELECT ssn FROM patients WHERE clinic = 'acme' AND id < 3 ORDER BY id", [("ssn 1",), ("ssn 2",)]),
    (
        "WITH a AS (SELECT * FROM patients) SELECT a.ssn, a.clinic, p.name FROM a "
        "JOIN places p ON p.id = a.id ORDER BY a.id",
        [("ssn 1", "acme", "here"), ("ssn 2", "acme", "there")],
    ),
    (
        "SELECT x.s, x.clinic FROM (SELECT id, ssn AS s, clinic FROM patients) x WHERE x.id = 3",
        [("ssn 3", "globex")],
    ),
    (
        "SELECT ssn, clinic FROM patients WHERE id = 1 UNION ALL "
        "SELECT ssn, clinic FROM patients WHERE id = 3",
        [("ssn 1", "acme"), ("ssn 3", "globex")],
    ),
    (
        "SELECT p.ssn, q.ssn, p.clinic, q.clinic FROM patients p JOIN patients q ON q.id = p.id + 2 "
        "WHERE p.id = 1",
        [("ssn 1", "ssn 3", "acme", "globex")],
    ),
    ("SELECT q.* FROM places p JOIN patients q ON p.id = q.id WHERE p.id = 2", [ROWS[1]]),
    ("SELECT COUNT(ssn), COUNT(*) FROM patients WHERE ssn IS NOT NULL", [(3, 3)]),
    (
        "SELECT name FROM places p WHERE EXISTS (SELECT 1 FROM patients q WHERE q.id = p.id) ORDER BY id",
        [("here",), ("there",)],
    ),
]


def test_columns_are_found_through_aliases_queries_and_joins(filled: Clinic) -> None:
    cursor = filled.wrapped().cursor()
    for statement, expected in FOUND:
        assert read(cursor, statement) == expected, statement


def test_values_are_compared_for_the_tenant_that_is_named(filled: Clinic) -> None:
    cursor = filled.wrapped().cursor()
    one = filled.mark("SELECT id FROM patients WHERE email = ? AND clinic = ?")
    cursor.execute(one, ("a@x", "acme"))
    assert list(cursor.fetchall()) == [(1,)]
    with tenant_scope("globex"):
        cursor.execute(filled.mark("SELECT id, ssn FROM patients WHERE email IN (?, ?)"), ("a@x", "b@x"))
        assert list(cursor.fetchall()) == [(3, "ssn 3")]
    with pytest.raises(TenantRequired):
        cursor.execute(filled.mark("SELECT id FROM patients WHERE email = ?"), ("a@x",))
    with pytest.raises(TenantMismatch), tenant_scope("globex"):
        cursor.execute(one, ("a@x", "acme"))


def test_values_of_a_list_are_compared_on_postgresql(filled: Clinic) -> None:
    if filled.vault.engine.name != "postgresql":
        return
    cursor = filled.wrapped().cursor()
    statement = filled.mark("SELECT id, ssn FROM patients WHERE email = ANY(?) AND clinic = ? ORDER BY id")
    for emails, found in (
        (["a@x", "b@x", None], [(1, "ssn 1"), (2, "ssn 2")]),
        (["b@x"], [(2, "ssn 2")]),
        ([], []),
        (None, []),
    ):
        cursor.execute(statement, (emails, "acme"))
        assert cursor.fetchall() == found
    with pytest.raises(InvalidValue, match="list"):
        cursor.execute(statement, ("a@x", "acme"))
    for refused in ("email <> ALL(?)", "ssn = ANY(?)", "email = ANY(ARRAY[?])"):
        with pytest.raises(UnsupportedOperation):
            cursor.execute(
                filled.mark(f"SELECT id FROM patients WHERE clinic = 'acme' AND {refused}"), (["x"],)
            )


def test_an_update_seals_for_whose_rows_it_matches(filled: Clinic) -> None:
    connection = filled.wrapped()
    cursor = connection.cursor()
    cursor.execute(filled.mark("UPDATE patients SET ssn = ?, title = ? WHERE id = ?"), ("new", "Dr", 3))
    assert cursor.rowcount == 1
    cursor.executemany(
        filled.mark("UPDATE patients SET ssn = ? WHERE id = ?"), [("x", 1), ("y", 4), ("z", 9)]
    )
    assert cursor.rowcount == 2 or not filled.driver.counts_many
    with tenant_scope("acme"):
        cursor.execute(
            filled.mark("UPDATE patients SET email = ? WHERE title IS NULL AND clinic = 'acme'"), ("c@x",)
        )
    connection.commit()
    cursor.execute(SELECT)
    assert list(cursor.fetchall()) == [
        (1, "acme", "x", "a@x", "Ms"),
        (2, "acme", "ssn 2", "c@x", None),
        (3, "globex", "new", "a@x", "Dr"),
        (4, "globex", "y", None, None),
    ]
    assert [filled.vault.owner(one) for one in stored(filled)] == ["acme", "acme", "globex", "globex"]


def test_an_update_of_several_tenants_rows_is_refused(filled: Clinic) -> None:
    cursor = filled.wrapped().cursor()
    before = stored(filled)
    with pytest.raises(TenantRequired):
        cursor.execute(filled.mark("UPDATE patients SET ssn = ? WHERE id > ?"), ("x", 0))
    with pytest.raises(TenantMismatch), tenant_scope("acme"):
        cursor.execute(filled.mark("UPDATE patients SET ssn = ?"), ("x",))
    with pytest.raises(TenantMismatch), tenant_scope("acme"):
        cursor.execute(filled.mark("UPDATE patients SET ssn = ? WHERE id = ?"), ("x", 3))
    assert stored(filled) == before


def test_a_row_bound_value_is_written_and_read_with_its_row(clinic: Clinic) -> None:
    connection = clinic.wrapped()
    cursor = connection.cursor()
    cursor.execute(clinic.mark("INSERT INTO notes (id, text) VALUES (?, ?), (2, ?)"), (1, {"a": 1}, ["b"]))
    cursor.execute(clinic.mark("UPDATE notes SET text = ? WHERE id = ?"), ({"c": 2}, 2))
    connection.commit()
    cursor.execute("SELECT id, text FROM notes ORDER BY id")
    assert list(cursor.fetchall()) == [(1, {"a": 1}), (2, {"c": 2})]
    with pytest.raises(UnsupportedOperation, match="row identity"):
        cursor.execute("SELECT text FROM notes")
    with pytest.raises(UnsupportedOperation, match="one row"):
        cursor.execute(clinic.mark("UPDATE notes SET text = ?"), (1,))
    with clinic.vault.engine.begin() as other:
        other.exec_driver_sql("UPDATE notes SET id = 7 WHERE id = 1")
    connection.rollback()  # MariaDB goes on with what the transaction has seen
    with pytest.raises(TamperedError):
        read(cursor, "SELECT id, text FROM notes ORDER BY id")


MIXED = [
    ("SELECT COALESCE(ssn, email) AS one, clinic FROM patients WHERE id = 1", [("ssn 1", "acme")]),
    (
        "SELECT p.clinic, CASE WHEN p.id = 2 THEN p.email ELSE p.ssn END FROM patients p "
        "WHERE p.id < 4 ORDER BY p.id",
        [("acme", "ssn 1"), ("acme", "b@x"), ("globex", "ssn 3")],
    ),
    (
        "SELECT id, clinic, ssn FROM patients WHERE id = 1 UNION ALL "
        "SELECT id, clinic, email FROM patients WHERE id = 3 UNION ALL "
        "SELECT id, clinic, email FROM patients WHERE id = 4",
        [(1, "acme", "ssn 1"), (3, "globex", "a@x"), (4, "globex", None)],
    ),
    (
        "SELECT p.clinic, q.clinic, COALESCE(p.ssn, q.ssn) FROM patients p "
        "JOIN patients q ON q.id = 1 WHERE p.id IN (3, 4) ORDER BY p.id",
        [("globex", "acme", "ssn 3"), ("globex", "acme", "ssn 1")],
    ),
]


def opens_in_its_tenants_scope_only(cursor: Any, one: str) -> None:
    with pytest.raises(TenantRequired):
        read(cursor, one)
    with pytest.raises(TenantMismatch), tenant_scope("globex"):
        read(cursor, one)
    with tenant_scope("acme"):
        assert read(cursor, one) == [("ssn 1",)]


def test_a_value_of_one_of_several_columns_is_opened_as_what_authenticates_it(filled: Clinic) -> None:
    connection = filled.wrapped()
    cursor = connection.cursor()
    for statement, expected in MIXED:
        assert read(cursor, statement) == expected, statement
    one = "SELECT COALESCE(ssn, email) FROM patients WHERE id = 1"
    opens_in_its_tenants_scope_only(cursor, one)
    for statement in (
        "SELECT DISTINCT COALESCE(email, ssn), clinic FROM patients",
        "SELECT COALESCE(email, ssn) AS one, clinic FROM patients ORDER BY one",
        "SELECT COALESCE(email, ssn) AS one, clinic FROM patients ORDER BY 1",
        "SELECT COALESCE(email, title), clinic FROM patients",
        "SELECT x.one FROM (SELECT COALESCE(email, ssn) AS one FROM patients) x",
        "SELECT id, email FROM patients UNION SELECT id, ssn FROM patients",
        "SELECT name FROM places WHERE name IN (SELECT COALESCE(email, ssn) FROM patients)",
        "INSERT INTO places (id, name) SELECT id, COALESCE(email, ssn) FROM patients",
        "SELECT COALESCE(n.text, p.ssn), n.id FROM notes n JOIN patients p ON p.id = n.id",
    ):
        with pytest.raises(UnsupportedOperation):
            cursor.execute(statement)
    with filled.vault.engine.begin() as other:
        other.exec_driver_sql(
            "UPDATE patients SET ssn = (SELECT x.email FROM (SELECT * FROM patients) x "
            "WHERE x.id = 2) WHERE id = 4"
        )
    connection.rollback()
    with pytest.raises(TamperedError):
        read(cursor, "SELECT COALESCE(ssn, email), clinic FROM patients WHERE id = 4")


REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("INSERT INTO patients (id, clinic, ssn) VALUES (9, 'acme', 'plain')", ()),
    ("INSERT INTO patients (id, clinic, ssn) VALUES (9, 'acme', UPPER(?))", ("plain",)),
    ("INSERT INTO patients VALUES (?, ?, ?, ?, ?)", (9, "acme", "plain", None, None)),
    ("INSERT INTO patients (id, clinic, ssn) SELECT 9, 'acme', ?", ("plain",)),
    ("UPDATE patients SET ssn = 'plain' WHERE id = 1", ()),
    ("UPDATE patients SET ssn = COALESCE(?, ssn) WHERE id = 1", ("plain",)),
    ("UPDATE patients SET clinic = ? WHERE id = 1", ("globex",)),
    ("UPDATE patients SET title = ssn WHERE id = 1", ()),
    ("UPDATE places SET name = (SELECT ssn FROM patients WHERE id = 1)", ()),
    ("INSERT INTO places (id, name) SELECT id, ssn FROM patients", ()),
    ("SELECT id FROM patients WHERE clinic = 'acme' AND email = 'a@x'", ()),
    ("SELECT id FROM patients WHERE clinic = 'acme' AND ssn = ?", ("ssn 1",)),
    ("SELECT UPPER(ssn) FROM patients", ()),
    ("SELECT id FROM patients ORDER BY ssn", ()),
    ("DELETE FROM patients WHERE ssn = ?", ("ssn 1",)),
    ("CREATE VIEW all_patients AS SELECT * FROM patients", ()),
    ("DROP TABLE patients", ()),
]


def test_what_would_store_or_send_a_plaintext_is_refused(filled: Clinic) -> None:
    connection = filled.wrapped()
    before = stored(filled)
    for statement, parameters in REFUSED:
        with pytest.raises(UnsupportedOperation):
            connection.cursor().execute(filled.mark(statement), parameters)
    connection.rollback()
    assert stored(filled) == before


def test_a_row_that_names_no_tenant_is_refused(clinic: Clinic) -> None:
    cursor = clinic.wrapped().cursor()
    for statement in (
        "INSERT INTO patients (id, ssn) VALUES (1, ?)",
        "INSERT INTO patients (id, clinic, ssn) VALUES (1, NULL, ?)",
    ):
        with pytest.raises(TenantRequired):
            cursor.execute(clinic.mark(statement), ("x",))


def test_a_value_whose_row_does_not_name_its_tenant_opens_in_a_scope_only(filled: Clinic) -> None:
    cursor = filled.wrapped().cursor()
    one = "SELECT ssn FROM patients WHERE id = 1"
    opens_in_its_tenants_scope_only(cursor, one)
    with pytest.raises(CmkError), tenant_scope("acme"):
        read(cursor, "SELECT ssn, clinic FROM patients")
