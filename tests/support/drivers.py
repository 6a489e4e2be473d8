"""The drivers with which keyrings and migrations reach a database, asynchronous ones among them.

A test of `tests/alembic` or `tests/rekey` runs once for each set of drivers of its pass: with the newest
SQLAlchemy by the synchronous drivers, and on PostgreSQL again by asyncpg; with an older one by aiosqlite and
psycopg's asynchronous connections. The rows that a test writes and compares go by the synchronous drivers.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.passes import NEWEST

T = TypeVar("T")
Drivers = dict[str, str]

SETS: dict[str, Drivers] = {
    "sync": {},
    "asyncpg": {"postgresql": "asyncpg"},
    "async": {"postgresql": "psycopg_async", "sqlite": "aiosqlite"},
}
IS_NEWEST = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= NEWEST
OF_PASS = ("sync", "asyncpg") if IS_NEWEST else ("async",)

_chosen: list[Drivers] = [{}]


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
    """Return whether a test would do the same by these drivers as by the synchronous ones."""
    callspec = getattr(item, "callspec", None)
    given = dict(callspec.params) if callspec else {}
    if given.pop("drivers", "sync") != "asyncpg":
        return False
    # The fixture `make` takes the kind of its database from within the test.
    return "postgresql" not in given.values() and "make" not in getattr(item, "fixturenames", ())
