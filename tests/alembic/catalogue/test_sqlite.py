"""What only SQLite has: checks and keys in the text of the table, and a file that one connection locks."""

from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.errors import RunInterrupted
from tests.alembic.adopting import adoption
from tests.alembic.catalogue.features import COLUMNS
from tests.alembic.catalogue.schemas import schema_of
from tests.support.databases import Database

TABLE = f"CREATE TABLE patients ({COLUMNS.format(options='')}, PRIMARY KEY (id))"


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ([TABLE.replace("varchar(11)", "varchar(11) CHECK (ssn <> '')")], "the check constraint needs plain"),
        (
            [TABLE.replace("PRIMARY", "CONSTRAINT \"its, ck\" CHECK (instr(ssn, 'x') = 0), PRIMARY")],
            "the check constraint its, ck needs plain values",
        ),
        ([TABLE.replace("(id)", "(id, ssn)")], "it is part of the primary key"),
        ([TABLE.replace("varchar(11)", "varchar(11) REFERENCES cards (number)")], "the foreign key to cards"),
        ([TABLE, "CREATE VIEW broken AS SELECT x FROM nowhere"], "SQLite changes no table .*broken"),
    ],
    ids=["check", "named check", "key", "foreign key", "broken view"],
)
def test_what_the_column_is_stands_in_the_way(
    sqlite_database: Database, tmp_path: Path, statements: list[str], named: str
) -> None:
    with adoption(sqlite_database.url, tmp_path) as adopted:
        adopted.create(*statements)
        before = schema_of(adopted.engine)
        with pytest.raises(ConfigurationError, match=named):
            adopted.seal()
        assert schema_of(adopted.engine) == before


def test_another_connection_that_writes_is_not_taken_for_something_in_the_way(
    sqlite_database: Database, tmp_path: Path
) -> None:
    with adoption(f"{sqlite_database.url}?timeout=0.1", tmp_path) as adopted:
        adopted.create(TABLE)
        with adopted.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(RunInterrupted, match="locked"):
                adopted.seal()
            connection.rollback()
        adopted.seal()
