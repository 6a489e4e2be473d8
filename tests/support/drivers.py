"""The drivers with which keyrings and migrations reach a database, asynchronous ones among them.

A test of `tests/alembic` or `tests/rekey` runs once for each set of drivers: in the pass with the newest
SQLAlchemy by the synchronous ones, and on PostgreSQL again by asyncpg; in the older pass by aiosqlite and
psycopg's asynchronous connections, and where that pass leaves a module out (`passes.py`) in the newest too.
Fewer drivers run what is not about them: SYNC and SYNC_AND_ASYNCPG name the modules, and a test's own marker
`drivers` goes before that. The rows that a test writes and compares go by the synchronous drivers.
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
# These do not depend on a driver (processes of their own, scripts, texts of migrations, a server's catalogue
# and files, vaults' keyrings), or name their own. What they send by a driver other modules send by each.
SYNC = {
    "alembic/test_async.py",
    "alembic/test_autogenerate.py",
    "alembic/test_crashes.py",
    "alembic/test_key_tables.py",
    "alembic/test_offline.py",
    "alembic/test_plugin.py",
    "alembic/test_planted.py",
    "alembic/test_separate.py",
    "alembic/test_sqlite_declaration.py",
    "alembic/test_underway.py",
    "alembic/catalogue/test_mariadb.py",
    "alembic/catalogue/test_round_trips.py",
    "alembic/catalogue/test_sqlite.py",
    "alembic/catalogue/test_words.py",
    "alembic/matrix/test_matrix.py",
    "rekey/test_counting.py",
    "rekey/test_kill.py",
    "rekey/test_mixed.py",
    "rekey/test_scrub.py",
}
# About values and a server's answers: psycopg's asynchronous connections and aiosqlite give the same as the
# synchronous ones, by whose code they read and write them; asyncpg has its own.
SYNC_AND_ASYNCPG = {
    "alembic/catalogue/test_postgresql.py",
    "alembic/test_beforehand.py",
    "alembic/test_changed_values.py",
    "alembic/test_every_row.py",
    "rekey/test_every_row.py",
    "rekey/test_searching.py",
}
KINDS = {"sqlite", "postgresql", "mariadb"}

_chosen: list[Drivers] = [{}]


def sets_of(module: Path) -> list[str]:
    """The sets of drivers by which the tests of a module run in this pass."""
    path = module.relative_to(TESTS).as_posix()
    if path in SYNC:
        return ["sync"]
    if not newest():
        return ["async"]
    return [*SETS] if other_subject(module) and path not in SYNC_AND_ASYNCPG else ["sync", "asyncpg"]


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
    return engine if url == engine.url else create_async_engine(url)


def connected(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do a migration's work as `env.py` does, on a connection to the database of an engine."""
    url = driver_url(engine.url)
    if url == engine.url:
        with engine.connect() as connection:
            return work(connection)
    # As `env.py` of Alembic's asynchronous template: each loop needs its own connection.
    made = create_async_engine(url, poolclass=NullPool)

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
    kinds = KINDS & set(map(str, given.values()))
    # Without such a parameter a test says in its marker which database it makes.
    marker = item.get_closest_marker("kind")
    return not drivers.keys() & (kinds or set(marker.args if marker else ()))
