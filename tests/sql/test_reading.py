"""SQL text over protected tables is understood for certain, or refused; other text is not looked at."""

import re

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.databases.sql_text import lexis_named
from sqlalchemy_cmk.search import Exact
from sqlalchemy_cmk.sql import Output, Plan, Schema, Star, read_statement

METADATA = MetaData()
Table(
    "patients",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("clinic_id", String(9)),
    Column("ssn", EncryptedType(String(11), index=[Exact()])),
    Column("email", EncryptedType(String(40), deterministic=True)),
    Column("title", String(9)),
    info={"cmk_tenant": "clinic_id"},
)
Table("clinics", METADATA, Column("id", String(9), primary_key=True), Column("name", String(9)))
Table("letters", METADATA, Column("text", EncryptedType(String(9))), schema="post")
SCHEMA = Schema(METADATA, views=[("public", "all_patients")])
KINDS = [("sqlite", "question"), ("postgresql", "percent"), ("mysql", "percent"), ("postgresql", "dollar")]


def plan(statement: str, kind: str = "sqlite", style: str = "question") -> Plan | None:
    if style == "percent":
        statement = statement.replace("?", "%s")
    elif style == "dollar":
        for number in range(1, statement.count("?") + 1):
            statement = statement.replace("?", f"${number}", 1)
    return (
        read_statement(statement, lexis_named(kind), style, SCHEMA) if SCHEMA.may_concern(statement) else None
    )


def returned(statement: str, kind: str = "sqlite", style: str = "question") -> list[str]:
    found = plan(statement, kind, style)
    assert found is not None
    return [
        "*" if isinstance(one, Star) else str(one.sealed.column.name) if one.sealed else "-"
        for one in found.outputs
    ]


@pytest.mark.parametrize("kind, style", KINDS)
@pytest.mark.parametrize(
    "statement, expected",
    [
        ("SELECT p.ssn AS x, count(*), p.title FROM patients p", ["ssn", "-", "-"]),
        ("SELECT * FROM patients", ["*"]),
        ("SELECT c.*, p.email FROM clinics c LEFT JOIN patients AS p ON p.clinic_id = c.id", ["*", "email"]),
        ("WITH a AS (SELECT id, ssn AS s FROM patients) SELECT s, id FROM a", ["ssn", "-"]),
        ("WITH a (i, s) AS (SELECT id, ssn FROM patients) SELECT s, i FROM a", ["ssn", "-"]),
        ("WITH patients AS (SELECT 1 AS ssn) SELECT ssn FROM patients", ["-"]),
        ("SELECT q.s FROM (SELECT ssn AS s FROM patients) q", ["ssn"]),
        ("SELECT ssn FROM patients UNION ALL SELECT ssn FROM patients", ["ssn"]),
        ("SELECT email, COUNT(*) FROM patients GROUP BY email", ["email", "-"]),
        ("SELECT DISTINCT email FROM patients", ["email"]),
        ("SELECT name FROM clinics WHERE id IN (SELECT clinic_id FROM patients)", ["-"]),
        ("SELECT name FROM clinics c WHERE EXISTS (SELECT ssn FROM patients WHERE clinic_id = c.id)", ["-"]),
        ("SELECT a.ssn FROM patients a JOIN patients b ON a.email = b.email", ["ssn"]),
        ("SELECT ssn FROM patients WHERE ssn IS NOT NULL ORDER BY title LIMIT 3", ["ssn"]),
        ("SELECT ssn /* not email */ FROM patients -- email", ["ssn"]),
        ("SELECT ssn, 'ssn', 'from patients' FROM patients", ["ssn", "-", "-"]),
    ],
)
def test_it_is_told_what_each_column_of_a_result_is(
    statement: str, expected: list[str], kind: str, style: str
) -> None:
    assert (
        returned(statement.replace(" -- email", "") if kind == "mysql" else statement, kind, style)
        == expected
    )


@pytest.mark.parametrize("kind, style", KINDS)
@pytest.mark.parametrize(
    "statement",
    [
        # A value, or an expression, where a sealed one stands.
        "INSERT INTO patients (id, ssn) VALUES (1, 'x')",
        "INSERT INTO patients (id, ssn) VALUES (1, UPPER(?))",
        "INSERT INTO patients (id, ssn) VALUES (1, ?), (2, 'x')",
        "INSERT INTO patients (id, ssn_exact) VALUES (1, ?)",
        "INSERT INTO patients VALUES (?, ?, ?, ?, ?)",
        "INSERT INTO patients (id, ssn) SELECT 1, ?",
        "INSERT INTO patients (id, nonsense) VALUES (1, ?)",
        "INSERT INTO patients (id, ssn) VALUES (1, CAST(? AS CHAR))",
        "UPDATE patients SET ssn = 'x'",
        "UPDATE patients SET ssn = ssn",
        "UPDATE patients SET ssn = CASE WHEN title = ? THEN ? ELSE NULL END",
        "UPDATE patients SET ssn_exact = ?",
        "SELECT id FROM patients WHERE email = 'x'",
        "SELECT id FROM patients WHERE email IN (?, 'x')",
        "SELECT id FROM patients WHERE email = LOWER(?)",
        "SELECT id FROM patients WHERE email = title",
        # What sealed bytes cannot answer.
        "SELECT id FROM patients WHERE ? = ssn",
        "SELECT id FROM patients WHERE ssn NOT LIKE ? ESCAPE '!'",
        "SELECT id FROM patients WHERE ssn = 'x'",
        "SELECT id FROM patients WHERE ssn IN (?, 'x')",
        "SELECT id FROM patients WHERE ssn <> ?",
        "SELECT id FROM patients WHERE ssn = UPPER(?)",
        "SELECT id FROM (SELECT id, ssn FROM patients) q WHERE q.ssn = ?",
        "SELECT id FROM patients WHERE (id, ssn) = (?, ?)",
        "SELECT id FROM patients WHERE email LIKE ?",
        "SELECT id FROM patients WHERE email > ?",
        "SELECT id FROM patients WHERE email <> ?",
        "SELECT id FROM patients WHERE email BETWEEN ? AND ?",
        "SELECT id FROM patients ORDER BY ssn",
        "SELECT id, ssn AS s FROM patients ORDER BY s",
        "SELECT ssn FROM patients ORDER BY 1",
        "SELECT ssn FROM patients UNION ALL SELECT ssn FROM patients ORDER BY 1",
        "SELECT ssn FROM patients UNION ALL SELECT ssn FROM patients ORDER BY ssn",
        "SELECT MAX(ssn) FROM patients",
        "SELECT ssn || 'x' FROM patients",
        "SELECT CAST(ssn AS CHAR) FROM patients",
        "SELECT COALESCE(ssn, title) FROM patients",
        "SELECT CASE WHEN email = ? THEN title ELSE ssn END FROM patients",
        "SELECT DISTINCT ssn FROM patients",
        "SELECT COUNT(DISTINCT ssn) FROM patients",
        "SELECT ssn FROM patients GROUP BY ssn",
        "SELECT ssn FROM patients GROUP BY 1",
        "SELECT ssn FROM patients UNION SELECT ssn FROM patients",
        "SELECT ROW_NUMBER() OVER (PARTITION BY ssn) FROM patients",
        "SELECT a.id FROM patients a JOIN patients b ON a.email = b.ssn",
        "SELECT a.id FROM patients a JOIN patients b USING (email)",
        "SELECT a.id FROM patients a NATURAL JOIN patients b",
        # Sealed bytes in a place that is not theirs.
        "SELECT (SELECT ssn FROM patients WHERE id = 1) FROM clinics",
        "SELECT id FROM clinics WHERE name IN (SELECT ssn FROM patients)",
        "SELECT ssn FROM patients UNION ALL SELECT title FROM patients",
        "SELECT ssn FROM patients UNION ALL SELECT name FROM clinics",
        "INSERT INTO clinics (id, name) SELECT id, ssn FROM patients",
        "INSERT INTO clinics (id, name) VALUES ('x', (SELECT ssn FROM patients))",
        "UPDATE patients SET title = ssn",
        "UPDATE clinics SET name = (SELECT ssn FROM patients WHERE id = 1)",
        # Whose row, and which, or other rows.
        "UPDATE patients SET clinic_id = ?",
        "UPDATE patients SET ssn = ? FROM clinics WHERE clinics.id = clinic_id",
        "INSERT INTO patients (id, ssn) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET title = 'x'",
        "INSERT INTO patients (id, ssn) VALUES (1, ?) ON DUPLICATE KEY UPDATE title = 'x'",
        "INSERT OR REPLACE INTO patients (id, ssn) VALUES (1, ?)",
        "REPLACE INTO patients (id, ssn) VALUES (1, ?)",
        "MERGE INTO patients USING clinics ON TRUE WHEN MATCHED THEN DELETE",
        # Other statements, several, or what cannot be read for certain.
        "EXPLAIN SELECT ssn FROM patients",
        "COPY patients (ssn) FROM STDIN",
        "PREPARE x AS SELECT ssn FROM patients",
        "EXECUTE x('secret')",
        "/* x */ CALL admit(?)",
        "SELECT 1; CALL admit('secret')",
        "CREATE VIEW v AS SELECT ssn FROM patients",
        "CREATE TABLE copy AS SELECT ssn FROM patients",
        "TRUNCATE patients",
        "PRAGMA foreign_key_check(patients)",
        "WITH x AS (DELETE FROM patients RETURNING ssn) SELECT * FROM x",
        "WITH RECURSIVE x AS (SELECT ssn FROM patients UNION ALL SELECT ssn FROM x) SELECT ssn FROM x",
        "SELECT ssn FROM patients; DELETE FROM patients",
        "SELECT ssn FROM patients WHERE title = 'a\\'",
        "SELECT ssn FROM patients /*! , email */",
        "SELECT ssn FROM patients /* /* */ */",
        "SELECT ssn FROM patients WHERE title = 'x",
        "SELECT patients FROM patients",
        "SELECT p FROM patients p",
        "SELECT ssn FROM other.patients",
        "SELECT text FROM letters",
        "SELECT ssn FROM all_patients",
        "SELECT u.ssn FROM patients u, clinics u",
        "SELECT a.ssn FROM (clinics JOIN patients a ON a.id = 1)",
        "SELECT ssn INTO x FROM patients",
        "SELEC ssn FROM patients",
    ],
)  # fmt: skip
def test_what_is_not_understood_or_not_possible_is_refused(statement: str, kind: str, style: str) -> None:
    with pytest.raises(UnsupportedOperation):
        plan(statement, kind, style)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM clinics WHERE name = 'it''s' AND id = ?",
        "SELECT name FROM inpatients",
        "SELECT 'patients' AS title",
        "CREATE TABLE visits (ssn TEXT)",
        "INSERT INTO clinics (name) VALUES ('patients')",
        "BEGIN",
        'PRAGMA main.table_info("patients")',
        "SHOW CREATE TABLE patients",
    ],
)
def test_statements_without_a_protected_table_pass(statement: str) -> None:
    assert plan(statement) is None


@pytest.mark.parametrize(
    "statement, kind, style",
    [
        ("SELECT ssn FROM patients WHERE id = ?1", "sqlite", "question"),
        ("SELECT ssn FROM patients WHERE id = @id", "sqlite", "question"),
        ("SELECT ssn FROM patients WHERE title = '%s' AND id = %s", "postgresql", "percent"),
        ("SELECT ssn FROM patients /* %s */ WHERE id = %s", "mysql", "percent"),
        ("SELECT ssn FROM patients WHERE title LIKE '%x'", "postgresql", "percent"),
        ("SELECT ssn FROM patients WHERE id = 5--1", "mysql", "percent"),
        ("SELECT ssn FROM patients WHERE title = $$x$$", "postgresql", "percent"),
        ("SELECT ssn FROM patients WHERE title = $x$y$x$", "postgresql", "dollar"),
        ('SELECT ssn FROM U&"p\\0061tients"', "postgresql", "percent"),
        ("SELECT ssn FROM patients WHERE id = %s AND id = %(id)s", "mysql", "percent"),
        ('SELECT "ssn" FROM patients', "mysql", "percent"),
        ("SELECT ssn FROM patients WHERE email = :a AND title = :a", "sqlite", "question"),
        ("INSERT INTO patients (id, ssn, title) VALUES (1, :a, :a)", "sqlite", "question"),
        ("UPDATE patients SET ssn = $1, title = $1", "postgresql", "dollar"),
    ],
)
def test_what_drivers_and_databases_may_read_in_two_ways_is_refused(
    statement: str, kind: str, style: str
) -> None:
    with pytest.raises(UnsupportedOperation):
        read_statement(statement, lexis_named(kind), style, SCHEMA)


@pytest.mark.parametrize("kind, style", KINDS)
@pytest.mark.parametrize(
    "statement, operator, part, qualifier",
    [
        ("SELECT id FROM patients WHERE title = ? AND ssn = ?", "=", "ssn = ", ""),
        ("SELECT id FROM patients p WHERE (p . ssn IN ( ?,? ))", "IN", "p . ssn IN ( , )", "p"),
        ("DELETE FROM patients WHERE patients.ssn BETWEEN ? AND ?", "BETWEEN", "", "patients"),
        ("UPDATE patients SET ssn = ? WHERE ssn LIKE ?", "LIKE", "ssn LIKE ", ""),
        ("SELECT id FROM patients WHERE ssn <= ?", "<=", "ssn <= ", ""),
    ],
)
def test_a_question_to_an_index_is_found_in_the_text(
    statement: str, operator: str, part: str, qualifier: str, kind: str, style: str
) -> None:
    found = plan(statement, kind, style)
    assert found is not None
    (one,) = found.asked
    text = found.text.parsed[slice(*one.span)]
    assert (one.operator, one.qualifier) == (operator, qualifier)
    assert not part or re.sub(r":\w+", "", text) == part


def test_the_cast_of_a_parameter_that_is_sealed_is_left_out() -> None:
    found = plan("UPDATE patients SET ssn = ?::VARCHAR WHERE id = ?::INTEGER", "postgresql", "dollar")
    assert found is not None
    statement, _ = found.text.written(0, len(found.text.parsed))
    assert " ".join(statement.split()) == "UPDATE patients SET ssn = $1 WHERE id = $2::INTEGER"


@pytest.mark.parametrize(
    "name, kind", [('"ssn"', "sqlite"), ("[ssn]", "sqlite"), ("`ssn`", "mysql"), ('"ssn"', "postgresql")]
)
def test_quoted_names_are_names(name: str, kind: str) -> None:
    style = "question" if kind == "sqlite" else "percent"
    assert returned(f"SELECT {name} FROM patients", kind, style) == ["ssn"]


def test_the_schema_of_a_table_tells_it() -> None:
    found = plan("SELECT text FROM post.letters")
    assert found is not None
    assert [one.sealed.where for one in found.outputs if isinstance(one, Output) and one.sealed] == [
        "post.letters.text"
    ]
    assert returned("SELECT ssn FROM main.patients") == ["ssn"]
