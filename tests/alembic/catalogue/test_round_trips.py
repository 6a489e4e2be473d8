"""A column that is sealed and opened again leaves the schema as it was, whatever depends on it."""

import random
from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import adoption
from tests.alembic.catalogue.features import COLUMNS, REFUSED, RESTORED
from tests.alembic.catalogue.schemas import schema_of
from tests.support.databases import Database

# SQLAlchemy warns of what it does not reflect; it is not what the catalogue is read by.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection"),
    pytest.mark.filterwarnings("ignore:Unknown schema content"),
]


def statements_of(database: str, seed: int) -> list[str]:
    """The statements of a table with some of what there may be; the first seed has all of it."""
    rng = random.Random(seed)
    sets = list(RESTORED[database].items())
    chosen = sets if seed == 0 else rng.sample(sets, rng.randint(1, len(sets)))
    options = rng.choice(["", " NOT NULL"]) if seed else ""
    if any(name == "invisible" for name, _ in chosen):
        options = ""
    rng.shuffle(chosen)
    table = f"CREATE TABLE patients ({COLUMNS}, PRIMARY KEY (id))"
    return [one.format(options=options) for one in [table, *(s for _, some in chosen for s in some)]]


@pytest.mark.parametrize("seed", range(4))
def test_the_schema_is_as_it_was_after_a_round_trip(database: Database, tmp_path: Path, seed: int) -> None:
    statements = statements_of(database.name, seed)
    nullable = "ssn varchar(11) NOT NULL" not in statements[0]
    with adoption(database.url, tmp_path, deterministic=True, nullable=nullable) as adopted:
        adopted.create(*statements)
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        adopted.seal(existing_nullable=True)
        assert adopted.opened() == rows
        sealed = schema_of(adopted.engine)
        assert len(sealed) == len(before)
        adopted.open(existing_nullable=True)
        assert schema_of(adopted.engine) == before, statements
        assert adopted.stored() == rows


@pytest.mark.drivers("sync", "asyncpg", "async")
def test_a_column_of_mixed_values_keeps_what_depends_on_it(database: Database, tmp_path: Path) -> None:
    options = {"deterministic": True, "accept_plaintext": True}
    with adoption(database.url, tmp_path, **options) as adopted:
        adopted.create(*statements_of(database.name, 0))
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        adopted.seal(mixed=True)
        assert adopted.opened() == rows
        adopted.migrate(lambda op: op.reencrypt("patients"))
        assert adopted.opened() == rows
        adopted.open()
        assert schema_of(adopted.engine) == before
        assert adopted.stored() == rows


def test_a_default_that_the_migration_does_not_name_is_refused(database: Database, tmp_path: Path) -> None:
    with adoption(database.url, tmp_path) as adopted:
        columns = COLUMNS.format(options=" DEFAULT 'x'")
        adopted.create(f"CREATE TABLE patients ({columns}, PRIMARY KEY (id))")
        before = schema_of(adopted.engine)
        with pytest.raises(
            ConfigurationError, match=r"its default is 'x'.* existing_server_default|it has a d"
        ):
            adopted.seal()
        assert schema_of(adopted.engine) == before


def test_everything_that_stands_in_the_way_is_named_before_anything_changes(
    database: Database, tmp_path: Path
) -> None:
    refused = REFUSED[database.name]
    with adoption(database.url, tmp_path) as adopted:
        table = f"CREATE TABLE patients ({COLUMNS.format(options='')}, PRIMARY KEY (id))"
        adopted.create(table, *(statement for some in refused.values() for statement in some))
        adopted.fill()
        before, rows = schema_of(adopted.engine), adopted.stored()
        with pytest.raises(ConfigurationError) as raised:
            adopted.seal()
        for phrase in refused:
            assert raised.match(phrase)
        assert schema_of(adopted.engine) == before
        assert adopted.stored() == rows
