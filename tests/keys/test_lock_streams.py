"""A lock ends a long stream of rows: at its next batch after the process has noticed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import KeyLocked
from tests.support.databases import Database
from tests.support.world import World
from tests.support.worlds import until

ROWS, BATCH = 60, 10


# On SQLite a statement that is being read keeps others from writing.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def worlds(database: Database, tmp_path: Path) -> Any:
    """One that reads, and looks for locks by itself, and another process that locks."""
    other = World(database.url, tmp_path).create()
    other.write("acme", *(f"note {n}" for n in range(ROWS)))
    reader = World(database.url, tmp_path)
    reader.restart(clock=time.monotonic, lock_check=0.05, revalidate_after=3600)
    yield reader, other
    reader.close()
    other.close()


def lock(reader: World, other: World) -> None:
    """Lock acme, and wait until the reading process has noticed."""
    other.keyring.lock("acme")
    until(lambda: "acme" not in reader.keyring.opened.tenants())


def test_a_stream_ends_at_its_next_batch(worlds: tuple[World, World]) -> None:
    reader, other = worlds
    query, seen = select(reader.notes.c.owner, reader.notes.c.text).order_by(reader.notes.c.id), 0
    with reader.engine.connect() as connection:
        rows = connection.execution_options(yield_per=BATCH).execute(query)
        with pytest.raises(KeyLocked):
            for _ in rows:
                seen += 1
                if seen == BATCH:
                    lock(reader, other)
    assert BATCH <= seen <= 2 * BATCH


def test_an_asynchronous_stream_ends_too(worlds: tuple[World, World]) -> None:
    reader, other = worlds
    url = reader.engine.url.set(drivername="postgresql+asyncpg")

    async def stream() -> AsyncIterator[Any]:
        engine = create_async_engine(url)
        reader.keyring.init_engine(engine)
        query = select(reader.notes.c.owner, reader.notes.c.text).order_by(reader.notes.c.id)
        async with engine.connect() as connection:
            async for row in await connection.stream(query, execution_options={"yield_per": BATCH}):
                yield row
        await engine.dispose()

    async def count(act: Callable[[], None]) -> int:
        seen = 0
        with pytest.raises(KeyLocked):
            async for _ in stream():
                seen += 1
                if seen == BATCH:
                    await asyncio.to_thread(act)
        return seen

    def act() -> None:
        other.keyring.lock("acme")
        keys = reader.keyring.engines.all()[-1]
        until(lambda: "acme" not in keys.opened.tenants())

    assert BATCH <= asyncio.run(count(act)) <= 2 * BATCH
