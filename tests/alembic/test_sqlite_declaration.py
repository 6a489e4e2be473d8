"""SQLite: a column's declared type is replaced in the text of its table, and comes back as it was written."""

from pathlib import Path

import pytest

from sqlalchemy_cmk.alembic.conversion.sqlite_declaration import declared_plain, declared_sealed
from tests.alembic.adopting import adoption
from tests.alembic.catalogue.schemas import schema_of
from tests.support.databases import Database

SEALED = "BLOB /* cmk: varchar(11) */"

# Each with what it holds of the column once that is sealed.
TABLES = {
    "CREATE TABLE p (id INTEGER, ssn varchar(11))": f"ssn {SEALED})",
    "CREATE TABLE p (ssn   varchar(11) NOT NULL, id)": f"(ssn {SEALED} NOT NULL, id)",
    'CREATE TABLE "a (ssn" ("SSN" varchar(11)COLLATE nocase)': f'"SSN" {SEALED} COLLATE nocase)',
    "CREATE TABLE p (id CHECK (ssn <> ''), 'ssn' varchar(11) UNIQUE)": f"'ssn' {SEALED} UNIQUE)",
    "CREATE TABLE p (\n  x, -- ssn text,\n  [ssn] varchar(11) -- his\n)": f"[ssn] {SEALED} -- his",
    "CREATE TABLE p (x DECIMAL(2, 3), CONSTRAINT ssn UNIQUE (x), `ssn` varchar(11)) STRICT": (
        f"`ssn` {SEALED}) STRICT"
    ),
}


@pytest.mark.parametrize("sql", TABLES)
def test_a_type_is_replaced_and_comes_back_in_its_own_words(sql: str) -> None:
    sealed = declared_sealed(sql, "ssn", "BLOB")
    assert TABLES[sql] in sealed
    assert declared_sealed(sealed, "ssn", "BLOB") == sealed
    assert declared_plain(sealed, "ssn", "VARCHAR(11)").split() == sql.replace(")COLL", ") COLL").split()
    assert declared_plain(sealed, "ssn", "TEXT") == declared_plain(sealed, "ssn", "VARCHAR(11)")


def test_a_column_without_a_type_gets_one_and_loses_it() -> None:
    sealed = declared_sealed("CREATE TABLE p (ssn, id)", "ssn", "BLOB")
    assert sealed == "CREATE TABLE p (ssn BLOB /* cmk:  */, id)"
    assert declared_plain(sealed, "ssn", "TEXT") == "CREATE TABLE p (ssn, id)"


def test_a_column_of_bytes_stays_as_it_is() -> None:
    sql = "CREATE TABLE p (id, ssn blob NOT NULL)"
    assert declared_sealed(sql, "ssn", "BLOB") == sql
    assert declared_plain(sql, "ssn", "TEXT") == "CREATE TABLE p (id, ssn TEXT NOT NULL)"


@pytest.mark.parametrize("mixed", [False, True])
def test_an_adopted_column_is_one_of_bytes_and_the_file_is_whole(
    sqlite_database: Database, tmp_path: Path, mixed: bool
) -> None:
    with adoption(sqlite_database.url, tmp_path, accept_plaintext=mixed) as adopted:
        adopted.create(
            "CREATE TABLE patients (id integer PRIMARY KEY, clinic_id text, ssn varchar(11) UNIQUE, note)",
            "CREATE TRIGGER noted AFTER UPDATE OF note ON patients BEGIN SELECT new.ssn; END",
        )
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        with adopted.engine.connect() as other:  # a connection that is open meanwhile sees it, too
            other.exec_driver_sql("SELECT ssn FROM patients").all()
            other.rollback()
            adopted.seal(mixed=mixed)
            declared = other.exec_driver_sql(
                "SELECT type FROM pragma_table_info('patients') WHERE name = 'ssn'"
            )
            assert declared.scalar_one() == "BLOB"
            other.rollback()
            assert other.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
        assert adopted.opened() == rows
        adopted.open()
        assert schema_of(adopted.engine) == before
        assert adopted.stored() == rows
