"""Names in statements that are written as text."""

import pytest
from sqlalchemy import create_engine

from sqlalchemy_cmk.databases.quoting import MAX_NAME_BYTES, Quoting, fitting, unused, verbatim


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg://", "mariadb+pymysql://"])
@pytest.mark.parametrize("name", ["100%", "a%%b", "a:b", "a\\:b", "a::text"])
def test_a_name_reaches_the_driver_as_it_takes_it(url: str, name: str) -> None:
    dialect = create_engine(url).dialect
    quoted = Quoting(dialect).name(name)
    assert quoted[1:-1] == name
    compiled = verbatim(f"SELECT {quoted}").compile(dialect=dialect)
    assert not compiled.params
    expected = name if url == "sqlite://" else name.replace("%", "%%")
    assert str(compiled)[8:-1] == expected


def test_an_empty_name_is_quoted() -> None:
    assert Quoting(create_engine("sqlite://").dialect).table("") == '""'


@pytest.mark.parametrize("name", ["c" * 59, "c" * 63, "é" * 31, "é" * 60])
def test_a_name_that_would_not_fit_ends_in_a_hash_of_it(name: str) -> None:
    fitted = fitting(name, "__cmk")
    assert len(fitted.encode()) <= MAX_NAME_BYTES and fitted.endswith("__cmk")
    assert fitted != fitting(name[:-1] + "x", "__cmk")
    assert fitting("ssn", "__cmk") == "ssn__cmk"


def test_an_unused_name_begins_none_of_the_names_there_are() -> None:
    assert unused("cmk_", ["id", "CMK_k0", "cmk__x"]) == "cmk___"
