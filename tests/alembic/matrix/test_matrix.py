"""Every kind of table through every operation on every database that has it.

Each cell ends in the same rows, the same schema and values that open, or in a refusal that changed nothing.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.rekey import Job, Rekey, scrub
from tests.alembic.adopting import TENANTS, Adoption, adoption
from tests.alembic.catalogue.schemas import schema_of
from tests.alembic.matrix.tables import REFUSED, every_table, statements_of
from tests.conftest import empty_database

# SQLAlchemy warns of what it does not reflect; it is not what the catalogue is read by.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection"),
    pytest.mark.filterwarnings("ignore:Unknown schema content"),
    pytest.mark.filterwarnings("ignore:Did not recognize type"),
    pytest.mark.filterwarnings("ignore:Could not instantiate type"),
]


def rekey(adopted: Adoption) -> None:
    for tenant in TENANTS:
        adopted.keyring.lifecycle.rotate_dek(tenant)
    report = Rekey(adopted.keyring, rate=None).run(Job.of(adopted.table))
    assert report.ok, report


def scrub_files(adopted: Adoption) -> None:
    with adopted.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        scrub(connection, "patients", patience=5)


def to(length: int) -> Callable[[Adoption], None]:
    """Give the values a type of another length."""

    def reseal(adopted: Adoption) -> None:
        types = [EncryptedType(String(one)) for one in (length, 29 - length)]
        adopted.migrate(
            lambda op: op.reencrypt(
                "patients", "ssn", type_=types[0], existing_type=types[1], tenant_column="clinic_id"
            )
        )

    return reseal


# What a sealed column goes through, one after the other; the first that is refused ends it.
SEALED = {"rekey": rekey, "longer": to(18), "as before": to(11), "scrub": scrub_files}


@dataclass
class Cells:
    """The operations on one table, and how each has ended."""

    adopted: Adoption
    ends: dict[str, str] = field(default_factory=dict)

    def run(self, operation: str, work: Callable[[Adoption], Any]) -> bool:
        """Run an operation; return whether it was done, and not refused with nothing changed."""
        before = self._state()
        try:
            work(self.adopted)
        except CmkError as refusal:
            self.ends[operation] = f"refused: {refusal}"
            assert self._state() == before, f"{operation} was refused, and had changed something: {refusal}"
            return False
        self.ends[operation] = "done"
        return True

    def _state(self) -> tuple[Any, ...]:
        return schema_of(self.adopted.engine), raw_rows(self.adopted)


def raw_rows(adopted: Adoption) -> list[str]:
    """Every row as the driver gives it."""
    with adopted.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, clinic_id, ssn FROM patients").all()
    return sorted(repr([bytes(one) if isinstance(one, memoryview) else one for one in row]) for row in rows)


# What asynchronous drivers are asked that the usual table does not ask them, and what they are refused. The
# catalogue's other features they go through together: see catalogue/test_round_trips.py.
BY_OTHER_DRIVERS = [
    ("postgresql", "two key columns"),
    ("postgresql", "partitions"),
    ("postgresql", "with grants"),
    ("postgresql", "a rule"),
    ("sqlite", "two key columns"),
    ("sqlite", "a trigger that raises"),
]


@pytest.mark.parametrize(("kind", "table"), every_table())
def test_each_operation_keeps_rows_and_schema_or_is_refused_before_it_changes_anything(
    kind: str, table: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    go_through(kind, table, request, tmp_path)


@pytest.mark.drivers("asyncpg", "async")
@pytest.mark.parametrize(("kind", "table"), BY_OTHER_DRIVERS)
def test_other_drivers_do_the_same(
    kind: str, table: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    go_through(kind, table, request, tmp_path)


def go_through(kind: str, table: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Take a table through every operation."""
    request.param = kind
    database = contextmanager(empty_database)(request)
    with database as made, adoption(made.url, tmp_path) as adopted:
        adopted.create(*statements_of(kind, table))
        adopted.fill(20)
        schema, rows, plain = schema_of(adopted.engine), raw_rows(adopted), adopted.stored()
        cells = Cells(adopted)
        if not cells.run("seal", Adoption.seal):
            assert table in REFUSED[kind] and REFUSED[kind][table] in cells.ends["seal"], cells.ends
            return
        assert table not in REFUSED[kind]
        assert adopted.opened() == plain, "after seal"
        for operation, work in SEALED.items():
            cells.run(operation, work)
            assert adopted.opened() == plain, f"after {operation}: {cells.ends}"
        assert cells.run("open", Adoption.open), cells.ends
        assert (schema_of(adopted.engine), raw_rows(adopted)) == (schema, rows), cells.ends
