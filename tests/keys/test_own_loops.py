"""The keyring's connections of an asynchronous driver: kept for the next work, and in loops of their own."""

import asyncio
import gc
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    URL,
    AsyncAdaptedQueuePool,
    Connection,
    MetaData,
    NullPool,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.keys.processes import in_fork
from tests.support.databases import Database
from tests.support.processes import await_true

AT_ONCE = 8
PROOFS = 50
UNITS = 100


DRIVERS = [("sqlite", "aiosqlite"), ("postgresql", "psycopg_async"), ("postgresql", "asyncpg")]

by_any_driver = pytest.mark.parametrize(("database", "driver"), DRIVERS, indirect=["database"])
on_postgresql = pytest.mark.parametrize(("database", "driver"), DRIVERS[1:], indirect=["database"])


@pytest.fixture
def url(sqlite_database: Database) -> str:
    assert sqlite_database.async_url is not None
    return sqlite_database.async_url


def url_of(database: Database, driver: str) -> URL:
    return make_url(database.url).set(drivername=f"{database.name}+{driver}")


class Counted:
    """An engine, and the connections that were opened to its database by its keyring or itself."""

    def __init__(self, url: URL | str, **options: Any) -> None:
        self.engine = create_async_engine(url, **options)
        self.opened: list[Any] = []
        event.listen(self.engine.sync_engine, "connect", self._opened)

    def _opened(self, _: Any, record: Any) -> None:
        self.opened.append(weakref.ref(record.driver_connection))

    def await_open(self, count: int) -> None:
        """Wait until so many connections are left: aiosqlite's end in a thread."""
        await_true(lambda: gc.collect() >= 0 and sum(one() is not None for one in self.opened) == count)

    def keyring(self, folder: Path) -> Keyring:
        """A keyring whose tables are made; it looks for no locks, which opens a connection too."""
        providers = [LocalKeyProvider(folder / "keys.json")]
        keyring = Keyring(self.engine, platform_key="local:pmk", providers=providers, lock_check=3600)
        metadata = MetaData()
        keyring.protect(metadata)
        keyring.connections.run(metadata.create_all)
        return keyring


@contextmanager
def connections_of(engine: AsyncEngine) -> Iterator[Connections]:
    connections = Connections(engine)
    yield connections
    connections.close()


def one(connection: Connection) -> int:
    return connection.execute(select(1)).scalar_one()


def test_threads_that_open_the_first_connections_at_once_do_not_hang(url: str) -> None:
    begin = threading.Barrier(AT_ONCE)

    def work() -> int:
        begin.wait(60)
        return connections.run(one)

    with connections_of(create_async_engine(url)) as connections, ThreadPoolExecutor(AT_ONCE) as pool:
        assert [future.result(60) for future in [pool.submit(work) for _ in range(AT_ONCE)]] == [1] * AT_ONCE


@by_any_driver
def test_proofs_open_no_connection_and_units_leave_nothing_in_memory(
    database: Database, driver: str, tmp_path: Path
) -> None:
    counted = Counted(url_of(database, driver))

    def work(times: int) -> int:
        for _ in range(times):
            keyring.connections.run(one)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with counted.keyring(tmp_path) as keyring:
        for _ in range(PROOFS):
            keyring.forget()
            keyring.warm(["acme"], new=True)
        assert len(counted.opened) <= 2, "one, and that of the thread that writes the trail"
        keyring.status()  # writes what its background thread would write later
        tracemalloc.start()
        try:
            # What leaks does so at each step; threads of other tests may take memory during some.
            steps = (work(UNITS) for _ in range(20))
            assert any(later - before < UNITS * 64 for before, later in pairwise(steps))
        finally:
            tracemalloc.stop()


@on_postgresql
def test_a_forked_child_has_connections_of_its_own(database: Database, driver: str, tmp_path: Path) -> None:
    counted = Counted(url_of(database, driver))
    with counted.keyring(tmp_path) as keyring:
        keyring.warm(["acme"], new=True)
        keyring.status()  # writes what its background thread would write later
        counted.opened.clear()

        def child() -> bool:
            gc.collect()
            keyring.forget()
            keyring.warm(["acme"], new=True)
            keyring.connections.close()
            return len(counted.opened) == 1

        assert in_fork(child)
        keyring.forget()
        keyring.warm(["acme"], new=True)
        keyring.status()
        assert counted.opened == []


def test_two_engines_of_one_keyring_have_loops_of_their_own(url: str, tmp_path: Path) -> None:
    first, second = Counted(url), Counted(f"sqlite+aiosqlite:///{tmp_path}/second.db")
    provider = LocalKeyProvider(tmp_path / "keys.json")
    with Keyring(platform_key="local:pmk", providers=[provider]) as keyring:
        metadata = MetaData()
        keyring.protect(metadata)
        for engine in (first, second):
            keyring.init_engine(engine.engine)
        both = [keyring.for_engine(engine.engine) for engine in (first, second)]
        for keys in both:
            keys.connections.run(metadata.create_all)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(
                pool.map(lambda number: both[number % 2].warm([f"tenant {number}"], new=True), range(AT_ONCE))
            )
        for at, keys in enumerate(both):
            named = {line.tenant for line in keys.status()}
            assert named == {f"tenant {number}" for number in range(AT_ONCE) if number % 2 == at}
        opened = len(second.opened)
        both[0].connections.close()
        both[1].status()
        assert len(second.opened) == opened


def test_a_unit_that_waits_holds_up_no_other_and_long_work_takes_no_place(url: str) -> None:
    reached, go_on = threading.Barrier(2), threading.Event()

    def wait(connection: Connection) -> int:
        reached.wait(60)
        assert go_on.wait(60)
        return one(connection)

    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=2)
    with connections_of(engine) as connections, ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(connections.run, wait), pool.submit(connections.use, wait)
        assert connections.run(one) == connections.use(one) == 1
        go_on.set()
        assert [future.result(60) for future in waiting] == [1, 1]


def test_long_work_has_a_connection_for_it_alone(url: str) -> None:
    counted = Counted(url)
    with connections_of(counted.engine) as connections:
        for _ in range(2):
            connections.run(one)
            connections.use(one)
        assert len(counted.opened) == 3
        counted.await_open(1)


def test_as_many_connections_as_the_pool_of_the_application_has(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(url, poolclass=AsyncAdaptedQueuePool, pool_size=1)
    with connections_of(counted.engine) as connections, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: connections.run(one), range(20))) == [1] * 20
        assert len(counted.opened) == 1
        monkeypatch.setattr("sqlalchemy_cmk.keys.storage.own_loops.PATIENCE", 0.01)

        def within(connection: Connection) -> None:
            with pytest.raises(PoolTimeoutError):
                pool.submit(connections.run, one).result(60)

        connections.run(within)


@on_postgresql
def test_connections_that_the_server_has_ended_cost_no_unit(
    database: Database, driver: str, tmp_path: Path
) -> None:
    counted = Counted(url_of(database, driver))
    with counted.keyring(tmp_path) as keyring:
        keyring.warm(["acme"], new=True)
        with create_engine(database.url).connect() as connection:
            ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            where = " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            assert connection.scalars(text(ended + where)).all()
        keyring.forget()
        keyring.warm(["acme"], new=True)


async def test_in_a_coroutine_a_call_is_refused_and_the_engine_closes_all(url: str) -> None:
    counted = Counted(url)
    connections = Connections(counted.engine)
    with pytest.raises(ConfigurationError, match=r"block the event loop: use await asyncio\.to_thread"):
        connections.run(one)
    await asyncio.to_thread(connections.run, one)
    await greenlet_spawn(connections.close)
    await asyncio.to_thread(connections.run, one)
    connections.close()
    assert len(counted.opened) == 2
    counted.await_open(0)


async def test_work_goes_on_when_its_caller_is_cancelled(url: str) -> None:
    counted = Counted(url)
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> int:
        begun.set()
        assert go_on.wait(60)
        return one(connection)

    connections = Connections(counted.engine)
    task = asyncio.create_task(greenlet_spawn(connections.run, work))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    closing = asyncio.create_task(asyncio.to_thread(connections.close))
    go_on.set()
    await closing
    await asyncio.to_thread(counted.await_open, 0)
    assert await asyncio.to_thread(connections.run, one) == 1
    connections.close()


def test_what_work_leaves_on_a_loop_is_cancelled_with_the_loop(url: str) -> None:
    counted = Counted(url)
    left: list[asyncio.Task[Any]] = []

    def work(connection: Connection) -> None:
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(3600)))

    with connections_of(counted.engine) as connections:
        connections.run(work)
        assert left[0].cancelled()
        assert connections.run(one) == 1 and len(counted.opened) == 2


@by_any_driver
def test_a_keyring_that_is_forgotten_leaves_no_connection(
    database: Database, driver: str, tmp_path: Path
) -> None:
    counted = Counted(url_of(database, driver))
    threads = threading.active_count()
    keyring = counted.keyring(tmp_path)
    keyring.warm(["acme"], new=True)
    opened = counted.opened
    del keyring, counted
    await_true(lambda: gc.collect() >= 0 and not any(one() for one in opened))
    await_true(lambda: threading.active_count() <= threads)


def test_a_process_ends_without_closing_anything(url: str) -> None:
    program = f"""
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy_cmk.keys.storage.connections import Connections
connections = Connections(create_async_engine({url!r}))
connections.run(lambda connection: connection.exec_driver_sql("SELECT 1").all())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_where_the_application_pools_nothing_nothing_is_kept(url: str) -> None:
    counted = Counted(url, poolclass=NullPool)
    with connections_of(counted.engine) as connections:
        connections.run(one)
        counted.await_open(0)
