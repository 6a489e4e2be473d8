"""What only MariaDB has: a column's collation, compression, types that fit no index."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import String

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import adoption
from tests.alembic.catalogue.features import COLUMNS
from tests.alembic.catalogue.schemas import schema_of
from tests.conftest import empty_database
from tests.support.databases import Database

TABLE = f"CREATE TABLE patients ({COLUMNS.format(options='')}, PRIMARY KEY (id))"


@pytest.fixture(params=["mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database."""
    yield from empty_database(request)


@pytest.mark.parametrize(
    ("statement", "length", "named"),
    [
        (
            "MODIFY ssn varchar(11) COLLATE utf8mb4_bin",
            11,
            "its collation is utf8mb4_bin, and ",
        ),
        ("MODIFY ssn varchar(11) CHARACTER SET latin1", 11, "its collation is latin1_swedish_ci"),
        ("MODIFY ssn varchar(11) COMPRESSED", 11, "it is COMPRESSED"),
        ("MODIFY ssn varchar(11) CHECK (ssn <> 'x')", 11, "the check constraint on it needs plain values"),
        ("MODIFY ssn varchar(760), ADD INDEX (ssn)", 760, "the index ssn cannot be on all of a VARBINARY"),
        ("MODIFY ssn varchar(760), ADD UNIQUE (ssn)", 760, "the index ssn cannot be on all"),
        (
            "MODIFY ssn varchar(725), ADD KEY i (ssn, clinic_id)",
            725,
            "take no VARBINARY.* in its place .*1071",
        ),
    ],
)
def test_what_the_column_is_stands_in_the_way(
    database: Database, tmp_path: Path, statement: str, length: int, named: str
) -> None:
    with adoption(database.url, tmp_path, plain=String(length)) as adopted:
        adopted.create(TABLE, f"ALTER TABLE patients {statement}")
        adopted.fill()
        before = schema_of(adopted.engine)
        with pytest.raises(ConfigurationError, match=named):
            adopted.seal()
        assert schema_of(adopted.engine) == before


def test_what_only_has_the_same_name_is_not_in_the_way(database: Database, tmp_path: Path) -> None:
    with adoption(database.url, tmp_path, column="date") as adopted:
        adopted.create(
            "CREATE TABLE dates (date varchar(11) PRIMARY KEY)",
            "CREATE TABLE patients (id integer PRIMARY KEY, clinic_id varchar(40) NOT NULL, "
            "date varchar(11), born date DEFAULT '1970-01-01', seen varchar(11), "
            "CONSTRAINT `date` CHECK (born > '1900-01-01'), "
            "CONSTRAINT seen FOREIGN KEY (seen) REFERENCES dates (date))",
        )
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        adopted.seal()
        assert adopted.opened() == rows
        adopted.open()
        assert schema_of(adopted.engine) == before


def test_a_column_comes_back_with_its_collation(database: Database, tmp_path: Path) -> None:
    with adoption(database.url, tmp_path, plain=String(11, collation="utf8mb4_bin")) as adopted:
        adopted.create(TABLE, "ALTER TABLE patients MODIFY ssn varchar(11) COLLATE utf8mb4_bin")
        adopted.fill()
        before = schema_of(adopted.engine)
        adopted.seal()
        adopted.open()
        assert schema_of(adopted.engine) == before
