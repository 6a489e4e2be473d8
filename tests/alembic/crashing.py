"""A table that is sealed, re-keyed, scrubbed and opened by processes that are killed, beside writers."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import ConfigurationError, tenant_scope
from sqlalchemy_cmk.rekey import Job, Rekey, scrub
from tests.alembic.adopting import TENANTS, Adoption, adoption

ROWS = 200
WRITERS = 2
TRIES = 20

TYPE = (
    "SELECT data_type FROM information_schema.columns WHERE table_name = 'patients' AND column_name = 'ssn' "
    "AND table_schema = {}"
)
# Keeps others from changing the table's form, in the mode that a write needs anyway.
KEEP = {
    "postgresql": "LOCK TABLE patients IN ROW EXCLUSIVE MODE",
    "mariadb": "SELECT id FROM patients WHERE id = :key FOR UPDATE",
}
OWN_SCHEMA = {"postgresql": "current_schema()", "mariadb": "database()"}


def do(step: str, url: str, folder: Path, begun: Any) -> None:
    """Do one step, in a process that may be killed at any time."""
    with adoption(url, folder) as made:
        begun.set()
        for _ in range(TRIES):
            try:
                STEPS[step](made)
                return
            except ConfigurationError as error:
                if "run the migration again" not in str(error):
                    raise
        raise SystemExit(3)


def rekey(made: Adoption) -> None:
    for tenant in TENANTS:
        made.keyring.lifecycle.rotate_dek(tenant)
    report = Rekey(made.keyring, rate=None, chunk=40).run(Job.of(made.table))
    assert report.ok, report


def scrub_files(made: Adoption) -> None:
    with made.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        scrub(connection, "patients", patience=5)


STEPS: dict[str, Callable[[Adoption], None]] = {
    "seal": Adoption.seal,
    "rekey": rekey,
    "scrub": scrub_files,
    "open": Adoption.open,
}


@contextmanager
def whole_table(made: Adoption, key: int) -> Iterator[tuple[Connection, bool]]:
    """A transaction in which the table keeps its form, and whether its column is sealed."""
    form_of = text(TYPE.format(OWN_SCHEMA[made.engine.dialect.name]))
    with made.engine.connect() as connection, connection.begin():
        connection.execute(text(KEEP[made.engine.dialect.name]), {"key": key})
        form = connection.execute(form_of).scalar_one()
        yield connection, form in ("bytea", "varbinary")


class Writer(threading.Thread):
    """Writes to its rows, plain or sealed as the column is, and notes what was committed.

    While `turn` is held by another, it writes nothing.
    """

    def __init__(self, url: str, folder: Path, number: int, expected: dict[int, str]) -> None:
        super().__init__(daemon=True)
        self.turn = threading.Lock()
        self.over = threading.Event()
        self.failures: list[str] = []
        self.written = 0
        self._where = url, folder
        self._number = number
        self._expected = expected

    def run(self) -> None:
        with adoption(*self._where) as made:
            while not self.over.is_set():
                key = random.randrange(self._number, ROWS, WRITERS) + 1
                with self.turn:
                    self._write(made, key, f"{self._number}-{self.written:07}")
                time.sleep(random.uniform(0.05, 0.3))

    def _write(self, made: Adoption, key: int, value: str) -> None:
        tenant = TENANTS[key % 2]
        try:
            with whole_table(made, key) as (connection, is_sealed), tenant_scope(tenant):
                table = made.table if is_sealed else made.plain_table
                connection.execute(update(table).where(table.c.id == key).values(ssn=value))
        except DBAPIError as error:
            self.failures.append(str(error.orig))
        else:
            self._expected[key] = value
            self.written += 1


def values(made: Adoption) -> dict[int, str]:
    """Every value, opened by its tenant where the column is sealed."""
    found = {}
    with whole_table(made, 1) as (connection, is_sealed):
        if not is_sealed:
            plain = made.plain_table
            return {row.id: row.ssn for row in connection.execute(select(plain.c.id, plain.c.ssn))}
        table = made.table
        for tenant in TENANTS:
            with tenant_scope(tenant):
                query = select(table.c.id, table.c.ssn).where(table.c.clinic_id == tenant)
                found |= {row.id: row.ssn for row in connection.execute(query)}
    return found
