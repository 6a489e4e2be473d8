"""What only MariaDB has: a column's collation, compression, types that fit no index."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import String, make_url

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import adoption
from tests.alembic.catalogue.features import COLUMNS
from tests.alembic.catalogue.schemas import schema_of
from tests.conftest import empty_database
from tests.support.databases import Database, server_database

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


def test_a_table_stays_in_the_folder_that_it_is_in(database: Database, tmp_path: Path) -> None:
    with adoption(database.url, tmp_path) as adopted:
        with adopted.engine.connect() as connection:
            folder = connection.exec_driver_sql("SELECT @@tmpdir").scalar_one()
        adopted.create(f"{TABLE} COMMENT 'it''s kept elsewhere' DATA DIRECTORY='{folder}'")
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        adopted.seal()
        assert adopted.opened() == rows
        adopted.open()
        assert schema_of(adopted.engine) == before and folder in str(before)


def test_a_view_in_another_database_is_in_the_way_where_it_reads_this_one(
    database: Database, tmp_path: Path
) -> None:
    with server_database("mariadb", database.url) as other, adoption(database.url, tmp_path) as adopted:
        here, there = (make_url(one.url).database for one in (database, other))
        adopted.create(
            TABLE,
            f"CREATE TABLE {there}.patients LIKE patients",
            f"CREATE VIEW {there}.theirs AS SELECT ssn FROM {there}.patients",
            f"CREATE VIEW {there}.ours AS SELECT ssn FROM {here}.patients",
        )
        adopted.fill()
        with pytest.raises(ConfigurationError, match=f"the view {there}.ours reads it") as found:
            adopted.seal()
        assert "theirs" not in str(found.value)
        adopted.run(f"DROP VIEW {there}.ours")
        rows = adopted.stored()
        adopted.seal()
        assert adopted.opened() == rows
