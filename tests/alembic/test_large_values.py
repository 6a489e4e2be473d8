"""A conversion of large values: memory is bounded by the largest, and what no statement takes is refused."""

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Text, insert, inspect
from sqlalchemy.dialects.mysql import LONGTEXT

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import Adoption, adoption
from tests.conftest import empty_database
from tests.keys.processes import apart

LONG = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
ROWS = 20
MANY_BYTES = 3_500_000  # what a statement of MariaDB's default size takes as it was and as it will be
MIB = 2**20
# A few forms of what is read ahead, compared and written: far less than all rows at once.
MOST = 160 * MIB
Make = Callable[[str], tuple[Adoption, str]]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes a table with long texts on a database of a kind, and gives the database's URL too."""
    with ExitStack() as stack:

        def make(kind: str) -> tuple[Adoption, str]:
            request.param = kind
            database = stack.enter_context(contextmanager(empty_database)(request))
            made = stack.enter_context(adoption(database.url, tmp_path, plain=LONG))
            made.create()
            return made, database.url

        yield make


def add(made: Adoption, key: int, length: int) -> None:
    with made.engine.begin() as connection:
        row = {"id": key, "clinic_id": "acme", "ssn": "x" * length}
        connection.execute(insert(made.plain_table), [row])


def grown(url: str, folder: Path) -> int:
    """How many bytes a process grows by, at its most, while it seals and opens the table."""
    with adoption(url, folder, plain=LONG) as made:
        made.keyring.warm(["acme"], new=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made.seal()
        made.open()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_conversion_takes_a_few_times_the_memory_of_the_largest_value(
    kind: str, make: Make, tmp_path: Path
) -> None:
    made, url = make(kind)
    for key in range(ROWS):
        add(made, key + 1, MANY_BYTES)
    used = apart(grown, url, tmp_path)
    assert used < MOST, f"{used / MIB:.0f} MiB"
    assert {len(row[-1]) for row in made.stored()} == {MANY_BYTES}


def test_a_value_that_no_statement_takes_is_refused_before_the_table_is_changed(make: Make) -> None:
    made, _ = make("mariadb")
    add(made, 1, 10)
    add(made, 7, 5_000_000)
    with pytest.raises(ConfigurationError, match=r"key \[7\] holds 5000000 bytes in ssn.*max_allowed_packet"):
        made.seal()
    assert [one["name"] for one in inspect(made.engine).get_columns("patients")] == ["id", "clinic_id", "ssn"]
