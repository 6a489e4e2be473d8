"""Values that would not come back byte for byte are refused before a conversion changes anything."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Date,
    DateTime,
    Float,
    Integer,
    Interval,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects import mysql, postgresql

from sqlalchemy_cmk import ConfigurationError, TamperedError
from tests.alembic.adopting import Adoption, adoption
from tests.alembic.catalogue.schemas import schema_of
from tests.conftest import empty_database

Make = Callable[..., Adoption]
Case = tuple[str, str, Any, str]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes the table on a database, with a column of this type in the database and this literal in row 2."""
    with ExitStack() as stack:

        def make(kind: str, column: str, plain: Any, value: str) -> Adoption:
            request.param = kind
            database = stack.enter_context(contextmanager(empty_database)(request))
            made = stack.enter_context(adoption(database.url, tmp_path, plain=plain))
            people = f"CREATE TABLE patients (id INTEGER PRIMARY KEY, clinic_id VARCHAR(40), ssn {column})"
            rows = f"INSERT INTO patients VALUES (1, 'acme', NULL), (2, 'acme', {value})"
            made.create(*PERMISSIVE[kind], people, rows)
            return made

        yield make


# A server may have taken values that it would refuse today.
PERMISSIVE: dict[str, list[str]] = {
    "sqlite": [],
    "postgresql": [],
    "mariadb": ["SET SESSION sql_mode = ''"],
}

CHANGED: dict[str, Case] = {
    "time of 30 hours": ("mariadb", "TIME", Time(), "'30:00:00'"),
    "negative time": ("mariadb", "TIME", Time(), "'-01:00:00'"),
    "fraction of a second": ("mariadb", "DATETIME(6)", DateTime(), "'2026-01-02 03:04:05.6'"),
    "zero date": ("mariadb", "DATE", Date(), "'0000-00-00'"),
    "zero datetime": ("mariadb", "DATETIME", DateTime(), "'0000-00-00 00:00:00'"),
    "boolean 5": ("mariadb", "TINYINT(1)", Boolean(), "5"),
    "year": ("mariadb", "YEAR", Integer(), "0"),
    "float of more digits": ("mariadb", "FLOAT", Float(), "1.23456789"),
    "bits": ("mariadb", "BIT(1)", Boolean(), "b'1'"),
    "no member": ("mariadb", "ENUM('a', 'b')", mysql.ENUM("a", "b"), "''"),
    "more decimals": ("mariadb", "DECIMAL(10, 4)", Numeric(8, 2), "1.2345"),
    "blank at the end": ("mariadb", "VARCHAR(9)", mysql.CHAR(9), "'a '"),
    "longer text": ("mariadb", "VARCHAR(9)", String(4), "'Wolfgang'"),
    "JSON exponent, MariaDB": ("mariadb", "JSON", JSON(), """'{"a": 1e2}'"""),
    "JSON key twice, MariaDB": ("mariadb", "JSON", JSON(), """'{"a": 1, "a": 2}'"""),
    "date before Christ": ("postgresql", "DATE", Date(), "'0044-03-15 BC'"),
    "a month": ("postgresql", "INTERVAL", Interval(), "'1 month'"),
    "array from 0": ("postgresql", "INTEGER[]", postgresql.ARRAY(Integer), "'[0:1]={1,2}'"),
    "padded": ("postgresql", "CHAR(9)", String(9), "'Wolf'"),
    "decimals beyond the type": ("postgresql", "NUMERIC", Numeric(8, 2), "1.234"),
    "JSON 1.00": ("postgresql", "JSON", JSON(), """'{"a": 1.00}'"""),
    "JSON 1e2": ("postgresql", "JSON", JSON(), """'{"a": 1e2}'"""),
    "JSON number of 30 digits": (
        "postgresql",
        "JSONB",
        postgresql.JSONB(),
        "'{\"a\": 0.1234567890123456789}'",
    ),
    "JSON key twice": ("postgresql", "JSON", JSON(), """'{"a": 1, "a": 2}'"""),
    "JSON white space": ("postgresql", "JSON", JSON(), """'{"a":1}'"""),
    "number in a text": ("sqlite", "", String(40), "7"),
    "text in a number": ("sqlite", "INTEGER", Integer(), "'seven'"),
    "real in an integer": ("sqlite", "INTEGER", Integer(), "1.5"),
    "date in words": ("sqlite", "DATE", Date(), "'yesterday'"),
    "datetime without fraction": ("sqlite", "DATETIME", DateTime(), "'2026-01-02 03:04:05'"),
    "more decimals, SQLite": ("sqlite", "NUMERIC(8, 2)", Numeric(8, 2), "1.005"),
    "JSON 1e2, SQLite": ("sqlite", "JSON", JSON(), """'{"a": 1e2}'"""),
    "UUID in capitals": ("sqlite", "CHAR(32)", Uuid(), "'ABCDEFABCDEFABCDEFABCDEFABCDEFAB'"),
}


def of_each(cases: Iterable[str], given: dict[str, Case]) -> pytest.MarkDecorator:
    """Run a test for cases, each with the kind of its database, by the drivers that it has."""
    return pytest.mark.parametrize(("kind", "case"), [(given[one][0], one) for one in cases])


@of_each(CHANGED, CHANGED)
def test_a_value_that_would_come_back_changed_is_refused_and_its_row_is_named(
    kind: str, case: str, make: Make
) -> None:
    refuse_to_seal(make(*CHANGED[case]), CHANGED[case][-1])


@pytest.mark.kind("postgresql")
def test_an_infinite_timestamp_is_refused_unless_the_driver_writes_what_it_read(make: Make) -> None:
    adopted = make("postgresql", "TIMESTAMPTZ", DateTime(timezone=True), "'infinity'")
    # asyncpg reads infinity as the last datetime, and writes that as infinity.
    if adopted.keyring.connections.url.drivername.endswith("asyncpg"):
        seal_and_open(adopted)
    else:
        refuse_to_seal(adopted, "'infinity'")


def refuse_to_seal(adopted: Adoption, value: str) -> None:
    """Expect that sealing is refused for row 2, without its value, and that nothing is changed."""
    before, schema = unread(adopted), schema_of(adopted.engine)
    with pytest.raises(
        ConfigurationError, match=r"1 values cannot be sealed.*ssn of the row with key \[2\]"
    ) as caught:
        adopted.seal()
    assert len(value) < 5 or value.strip("'") not in str(caught.value)
    assert (unread(adopted), schema_of(adopted.engine)) == (before, schema)


def seal_and_open(adopted: Adoption) -> None:
    """Expect that the values are sealed, and come back as they were."""
    before = unread(adopted)
    adopted.seal()
    assert unread(adopted) != before
    adopted.open()
    assert unread(adopted) == before


@of_each(["time of 30 hours", "float of more digits", "JSON 1.00", "date in words"], CHANGED)
def test_it_is_refused_as_well_where_rows_are_to_be_sealed_later(kind: str, case: str, make: Make) -> None:
    adopted = make(*CHANGED[case])
    before, schema = unread(adopted), schema_of(adopted.engine)
    with pytest.raises(ConfigurationError, match=r"1 values cannot be sealed.*ssn of the row with key \[2\]"):
        adopted.seal(mixed=True)
    assert (unread(adopted), schema_of(adopted.engine)) == (before, schema)


def unread(adopted: Adoption) -> list[Any]:
    """The rows as text: a driver may not be able to read them."""
    shown = {
        "sqlite": "typeof(ssn) || quote(ssn)",
        "postgresql": "ssn::text",
        "mariadb": "HEX(ssn)",
    }
    with adopted.engine.connect() as connection:
        query = f"SELECT id, {shown[adopted.engine.dialect.name]} FROM patients ORDER BY id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


KEPT: dict[str, Case] = {
    "time": ("mariadb", "TIME(6)", mysql.TIME(fsp=6), "'23:59:59.5'"),
    "datetime": ("mariadb", "DATETIME", DateTime(), "'2026-01-02 03:04:05'"),
    "timestamp": ("mariadb", "TIMESTAMP(6)", mysql.TIMESTAMP(fsp=6), "'2026-01-02 03:04:05.6'"),
    "float": ("mariadb", "FLOAT", Float(), "0.1"),
    "double": ("mariadb", "DOUBLE", mysql.DOUBLE(asdecimal=False), "1.23456789012345e-300"),
    "decimal": ("mariadb", "DECIMAL(8, 2)", Numeric(8, 2), "1.5"),
    "member": ("mariadb", "ENUM('a', 'b')", mysql.ENUM("a", "b"), "'b'"),
    "json": ("mariadb", "JSON", JSON(), """'{"a": [1, 2.5, null]}'"""),
    "boolean": ("mariadb", "BOOL", Boolean(), "1"),
    "moment": ("postgresql", "TIMESTAMPTZ", DateTime(timezone=True), "'2026-01-02 03:04:05.6+07'"),
    "not a number": ("postgresql", "NUMERIC", Numeric(), "'NaN'"),
    "scale": ("postgresql", "NUMERIC", Numeric(), "1.500"),
    "days": ("postgresql", "INTERVAL", Interval(), "'3 days 04:05:06'"),
    "array": ("postgresql", "INTEGER[]", postgresql.ARRAY(Integer), "'{1,NULL,3}'"),
    "jsonb": ("postgresql", "JSONB", postgresql.JSONB(), """'{"b":1, "a":[true]}'"""),
    "real": ("postgresql", "DOUBLE PRECISION", Float(53), "0.1"),
    "integer": ("sqlite", "INTEGER", Integer(), "7"),
    "numeric": ("sqlite", "NUMERIC(8, 2)", Numeric(8, 2), "2"),
    "json, SQLite": ("sqlite", "JSON", JSON(), "5"),
    "date": ("sqlite", "DATE", Date(), "'2026-01-02'"),
}


@pytest.mark.filterwarnings("ignore:Dialect sqlite.*does .not. support Decimal")
@of_each(KEPT, KEPT)
def test_a_value_that_comes_back_as_it_was_is_sealed_and_opened_again(
    kind: str, case: str, make: Make
) -> None:
    seal_and_open(make(*KEPT[case]))


def test_a_value_that_is_written_after_the_look_is_not_copied_changed(make: Make) -> None:
    adopted = make("mariadb", "TIME", Time(), "'01:00:00'")
    adopted.seal(phase="expand")
    adopted.run("INSERT INTO patients (id, clinic_id, ssn) VALUES (3, 'acme', '30:00:00')")
    before = unread(adopted)
    with pytest.raises(TamperedError, match=r"ssn of the row with key \[3\]: opened for good again"):
        adopted.seal()
    assert unread(adopted) == before
