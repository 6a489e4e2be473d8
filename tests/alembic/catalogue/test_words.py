"""SQL taken apart: names are distinguished from strings, comments and one another."""

import pytest

from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text


@pytest.mark.parametrize(
    "sql",
    ["lower(ssn)", 'SELECT "ssn" FROM p', "`p`.`ssn`", "[ssn]", "SSN", "'it''s' || ssn", "E'\\'' || ssn"],
)
def test_a_name_is_found(sql: str) -> None:
    assert Text(sql).names("ssn")


@pytest.mark.parametrize(
    "sql", ["'ssn'", "ssn_2", "-- ssn\n1", "/* ssn */ 1", "E'\\' ssn'", "id::ssn", 'id::"ssn"', "'x'' ssn'"]
)
def test_what_is_no_name_is_not(sql: str) -> None:
    assert not Text(sql).names("ssn")


def test_a_quoted_name_may_hold_its_quote() -> None:
    assert Text('"a""b"').names('a"b') and Text("`a``b`").names("a`b")
    assert Text("'it\\'s ssn', x", backslashes=True).names("x")
    assert not Text("'it\\'s ssn'", backslashes=True).names("ssn")


@pytest.mark.parametrize(
    ("sql", "computes"),
    [
        ("(ssn IS NOT NULL)", False),
        ('("ssn" is null) AND (id > 0)', False),
        ("(ssn IS NOT NULL) AND (ssn > 'a')", True),
        ("ssn IS DISTINCT FROM 'x'", True),
        ("coalesce(ssn, '') IS NOT NULL", True),
        ("id > 0", False),
    ],
)
def test_asking_whether_it_is_null_is_not_computing_with_it(sql: str, computes: bool) -> None:
    assert Text(sql).computes_with("ssn") is computes
