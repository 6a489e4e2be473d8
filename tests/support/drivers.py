"""The drivers with which keyrings and migrations reach a database, asynchronous ones among them.

A test of `tests/alembic` or `tests/rekey` runs once for each set of drivers: in the pass with the newest
SQLAlchemy by the synchronous ones, and on PostgreSQL again by asyncpg; in the older pass by aiosqlite and
psycopg's asynchronous connections, and where that pass leaves a module out (`passes.py`) in the newest too.
The rows that a test writes and compares go by the synchronous drivers.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import URL, Connection, Engine, NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.passes import TESTS, newest, other_subject

T = TypeVar("T")
Drivers = dict[str, str]

SETS: dict[str, Drivers] = {
    "sync": {},
    "asyncpg": {"postgresql": "asyncpg"},
    "async": {"postgresql": "psycopg_async", "sqlite": "aiosqlite"},
}
# These do not depend on a driver (processes of their own, scripts, texts of migrations), or name their own.
ONCE = {
    "alembic/test_async.py",
    "alembic/test_autogenerate.py",
    "alembic/test_crashes.py",
    "alembic/test_key_tables.py",
    "alembic/test_offline.py",
    "alembic/test_plugin.py",
    "alembic/catalogue/test_words.py",
    "rekey/test_kill.py",
}

_chosen: list[Drivers] = [{}]


def sets_of(module: Path) -> list[str]:
    """The sets of drivers by which the tests of a module run in this pass."""
    if module.relative_to(TESTS).as_posix() in ONCE:
        return ["sync"]
    if not newest():
        return ["async"]
    return [*SETS] if other_subject(module) else ["sync", "asyncpg"]


@contextmanager
def by_drivers(name: str) -> Iterator[None]:
    """Have the keyrings and migrations of the block use a set of drivers."""
    _chosen.append(SETS[name])
    try:
        yield
    finally:
        _chosen.pop()


def driver_url(url: URL) -> URL:
    """The URL of a database, for the driver by which it is reached now."""
    kind = url.get_backend_name()
    return url.set(drivername=f"{kind}+{_chosen[-1][kind]}") if kind in _chosen[-1] else url


def keyring_engine(engine: Engine) -> Engine | AsyncEngine:
    """The engine with which a keyring reaches the database of an engine."""
    url = driver_url(engine.url)
    return engine if url == engine.url else create_async_engine(url, poolclass=NullPool)


def connected(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do a migration's work as `env.py` does, on a connection to the database of an engine."""
    made = keyring_engine(engine)
    if isinstance(made, Engine):
        with made.connect() as connection:
            return work(connection)

    async def run() -> T:
        async with made.connect() as connection:
            return await connection.run_sync(work)

    return asyncio.run(run())


def repeats(item: pytest.Item) -> bool:
    """Return whether a test would do the same by its drivers as by the synchronous ones, which it has too."""
    callspec = getattr(item, "callspec", None)
    given = dict(callspec.params) if callspec else {}
    drivers = SETS[str(given.pop("drivers", "sync"))]
    if not drivers or "sync" not in sets_of(item.path):
        return False
    # The fixture `make` takes the kind of its database from within the test.
    return not drivers.keys() & set(map(str, given.values())) and "make" not in item.fixturenames  # type: ignore[attr-defined]
