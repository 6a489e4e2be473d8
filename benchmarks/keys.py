"""What keys cost: a cold start in provider calls and statements, an opened key in memory."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks.tables import Database, patient_rows, patients, sealed
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret

TENANTS = 500
MODEL = patients("keys_sealed", sealed, "clinic_id")


class ColdBase(DeclarativeBase):
    """The table of the cold start."""


COLD = patients("cold_sealed", sealed, "clinic_id", (ColdBase,))


class Counting(LocalKeyProvider):
    """The local provider, counting its calls."""

    calls = 0

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.calls += 1
        return super().unwrap(wrapped)


def keys(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return provider calls and key statements of a cold start, and the bytes of an opened key."""
    return cold_start(database.folder) | memory(database, min(count, TENANTS))


def cold_start(folder: Path) -> dict[str, float]:
    """Return provider calls and key statements that it takes to write and read a tenant's first row."""
    engine = create_engine(f"sqlite:///{folder}/cold.db")
    provider = Counting(folder / "cold.json")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    keyring.protect(ColdBase)
    ColdBase.metadata.create_all(engine)
    row = patient_rows(1)[0]
    keyring.warm([row["clinic_id"]], new=True)
    keyring.forget()
    provider.calls, statements = 0, []

    def note(*args: Any) -> None:
        if "cmk_" in args[2]:
            statements.append(args[2])

    event.listen(Engine, "before_cursor_execute", note)
    with Session(engine) as session:
        session.add(COLD(**row))
        session.commit()
        session.scalars(select(COLD)).all()
    event.remove(Engine, "before_cursor_execute", note)
    keyring.close()
    engine.dispose()
    return {
        "cold start of one tenant: provider calls": provider.calls,
        "cold start of one tenant: statements": len(statements),
    }


def memory(database: Database, count: int) -> dict[str, float]:
    """Return the bytes that stay for each of so many tenants: its key is opened, two columns are read."""
    rows = patient_rows(2 * count, count)
    tenants = {row["clinic_id"] for row in rows}
    database.fill(MODEL, rows)
    database.orm_load(MODEL, rows)
    database.keyring.forget()
    tracemalloc.start()
    try:
        before = _kept(database)
        database.keyring.warm(tenants, new=True)
        database.orm_load(MODEL, rows)
        grown = _kept(database) - before
    finally:
        tracemalloc.stop()
    return {"memory of an opened key, bytes": grown / len(tenants)}


def _kept(database: Database) -> int:
    # Reading the trail writes the events that wait in memory.
    database.keyring.audit.entries(last=1)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
