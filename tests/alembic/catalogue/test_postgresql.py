"""What only PostgreSQL has: partitions with indexes of their own, tablespaces, domains, inheritance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import Adoption, adoption
from tests.alembic.catalogue.features import COLUMNS, RESTORED
from tests.alembic.catalogue.schemas import schema_of
from tests.conftest import empty_database
from tests.support.databases import Database
from tests.support.roles import owner_of

TABLE = COLUMNS.format(options="")
COLLATED = 'varchar(11) COLLATE "C"'


@pytest.fixture(params=["postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database."""
    yield from empty_database(request)


@pytest.fixture
def adopted(database: Database, tmp_path: Path) -> Iterator[Adoption]:
    with adoption(database.url, tmp_path, deterministic=True) as made:
        yield made


def round_trip(adopted: Adoption) -> None:
    adopted.fill()
    before, rows = schema_of(adopted.engine), adopted.stored()
    adopted.seal()
    assert adopted.opened() == rows
    adopted.open()
    assert schema_of(adopted.engine) == before
    assert adopted.stored() == rows


def test_each_partition_keeps_its_indexes_grants_and_attributes(adopted: Adoption) -> None:
    adopted.create(
        f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id, clinic_id) INCLUDE (ssn)) "
        "PARTITION BY LIST (clinic_id)",
        "CREATE TABLE acme PARTITION OF patients FOR VALUES IN ('acme')",
        "CREATE TABLE others PARTITION OF patients DEFAULT PARTITION BY RANGE (id)",
        "CREATE TABLE others_1 PARTITION OF others FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE others_2 PARTITION OF others DEFAULT",
        # Made before the parent's, so that their names are their own.
        "CREATE INDEX of_acme ON acme (ssn)",
        "CREATE INDEX by_ssn ON patients (ssn)",
        "CREATE UNIQUE INDEX only_acme ON acme (ssn DESC) WHERE ssn IS NOT NULL",
        "CREATE INDEX unfinished ON ONLY patients (ssn, note)",
        "ALTER TABLE acme ALTER COLUMN ssn SET STATISTICS 70",
        "ALTER TABLE others_1 ALTER COLUMN ssn SET NOT NULL",
        "COMMENT ON COLUMN acme.ssn IS 'of acme'",
        "GRANT SELECT (ssn) ON others_2 TO pg_monitor",
        "ALTER TABLE acme CLUSTER ON of_acme",
    )
    round_trip(adopted)


def test_an_owner_who_is_no_superuser_needs_no_other_rights(database: Database, tmp_path: Path) -> None:
    sets = [RESTORED["postgresql"][name] for name in ("covering key", "grants", "statistics", "attributes")]
    with owner_of(database) as url, adoption(url, tmp_path, deterministic=True) as adopted:
        table = f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id))"
        adopted.create(table, *(statement for some in sets for statement in some))
        round_trip(adopted)


def test_a_not_null_constraint_keeps_its_name(adopted: Adoption) -> None:
    # Version 18 keeps the names, those before read over them.
    named = TABLE.replace("varchar(11)", "varchar(11) CONSTRAINT must NOT NULL")
    adopted.create(
        f"CREATE TABLE patients ({named}, PRIMARY KEY (id, clinic_id)) PARTITION BY LIST (clinic_id)",
        "CREATE TABLE acme PARTITION OF patients FOR VALUES IN ('acme')",
        "CREATE TABLE others PARTITION OF patients DEFAULT",
    )
    round_trip(adopted)


def test_an_index_keeps_its_tablespace(adopted: Adoption) -> None:
    space = f"space_{adopted.engine.url.database}"
    adopted.run("SET allow_in_place_tablespaces = on", f"CREATE TABLESPACE {space} LOCATION ''")
    try:
        adopted.create(
            f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id))",
            f"CREATE INDEX elsewhere ON patients (ssn) TABLESPACE {space}",
            "CREATE INDEX here ON patients (ssn)",
        )
        round_trip(adopted)
    finally:
        adopted.run("DROP INDEX IF EXISTS elsewhere", f"DROP TABLESPACE {space}")


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (
            [
                "CREATE DOMAIN digits AS varchar(11) CHECK (VALUE ~ '^[0-9-]+$')",
                f"CREATE TABLE patients ({TABLE.replace('ssn varchar(11)', 'ssn digits')}, PRIMARY KEY (id))",
            ],
            "it is of the domain digits",
        ),
        (
            [f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id))", "CREATE TABLE old () INHERITS (patients)"],
            r"public\.old inherits from the table",
        ),
        (
            [f"CREATE TABLE people ({TABLE})", "CREATE TABLE patients (PRIMARY KEY (id)) INHERITS (people)"],
            r"public\.patients inherits it",
        ),
        (
            [
                f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
                "CREATE TABLE first PARTITION OF patients DEFAULT",
                "ALTER TABLE first ALTER ssn SET DEFAULT 'x'",
            ],
            r"public\.first has a default of its own",
        ),
        (
            [f"CREATE TABLE patients ({TABLE.replace('varchar(11)', COLLATED)}, PRIMARY KEY (id))"],
            "its collation is C: write existing_type",
        ),
    ],
    ids=["domain", "parent", "child", "default", "collation"],
)
def test_what_the_column_is_stands_in_the_way(adopted: Adoption, statements: list[str], named: str) -> None:
    adopted.create(*statements)
    before = schema_of(adopted.engine)
    with pytest.raises(ConfigurationError, match=named):
        adopted.seal()
    assert schema_of(adopted.engine) == before


def test_an_index_that_was_never_finished_is_refused(adopted: Adoption) -> None:
    adopted.create(
        f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id))", "CREATE INDEX broken ON patients (ssn)"
    )
    adopted.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST('broken' AS regclass)")
    with pytest.raises(ConfigurationError, match=r"the index public\.broken is not valid: REINDEX"):
        adopted.seal()


def test_a_grant_by_another_role_is_refused(adopted: Adoption) -> None:
    adopted.create(
        f"CREATE TABLE patients ({TABLE}, PRIMARY KEY (id))",
        "GRANT SELECT (ssn) ON patients TO pg_monitor WITH GRANT OPTION",
    )
    with adopted.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE pg_monitor")
        connection.exec_driver_sql("GRANT SELECT (ssn) ON patients TO pg_signal_backend")
    with pytest.raises(ConfigurationError, match="to pg_signal_backend was made by another role"):
        adopted.seal()
