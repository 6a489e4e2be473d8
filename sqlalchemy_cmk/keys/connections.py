"""The keyring's own connections: never the application's, so that it cannot wait for itself.

A key is committed in a transaction of its own, and a row that needs an unknown DEK must not wait for a
connection that its own caller holds. Each unit of work here is one short transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, StaticPool, create_engine
from sqlalchemy.pool import Pool, SingletonThreadPool

from sqlalchemy_cmk.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Work = Callable[[Connection], T]

_memory_engines: WeakKeyDictionary[Engine, tuple[Engine, Any]] = WeakKeyDictionary()


class Connections:
    """Runs units of work on connections of the keyring's own.

    Args:
        engine: the application's engine, whose URL, driver arguments and pool settings are taken over.
            For SQLite in memory, which only its own connection sees, the keys live in a second
            database in memory that is dropped with the engine.
    """

    def __init__(self, engine: Engine | AsyncEngine) -> None:
        self._lock: Any = nullcontext()
        self._async_pool: Pool | None = None
        sync = engine if isinstance(engine, Engine) else engine.sync_engine
        self._url = sync.url
        self.is_sqlite = sync.dialect.name == "sqlite"
        self.in_memory = _is_memory(sync)
        if self.in_memory:
            self._engine, self._lock = _memory_engine(sync)
        elif sync is not engine:
            self._async_pool = sync.pool.recreate()
        elif isinstance(sync.pool, StaticPool | SingletonThreadPool):
            self._engine = create_engine(sync.url, **self._transactional)
        else:
            self._engine = create_engine(sync.url, pool=sync.pool.recreate(), **self._transactional)
        self._lone: Engine | None = None

    @property
    def _transactional(self) -> dict[str, Any]:
        # The application's connections may commit each statement by themselves; its pool's settings are
        # taken over, and this one is undone: a DEK is never written without its wrapping.
        # No error shows parameters: re-keying compares with what a column held before it was sealed, and
        # writes what is opened for good.
        level = "SERIALIZABLE" if self.is_sqlite else "READ COMMITTED"
        return {"isolation_level": level, "hide_parameters": True}

    def run(self, work: Work[T], patient: bool = True) -> T:
        """Run one unit of work in a transaction of its own and commit it.

        Args:
            work: is given the connection.
            patient: whether to wait for SQLite's lock.

        Raises:
            ConfigurationError: called straight from a coroutine on an async engine.
        """
        unit = partial(_hurried if self.is_sqlite and not patient else _committed, work)
        if self._async_pool is not None:
            return self._run_in_loop(self._async_pool, unit)
        with self._lock, self._engine.connect() as connection:
            return unit(connection)

    def use(self, work: Work[T]) -> T:
        """Run work that begins and commits its own transactions, on a connection made for it alone.

        It takes none from a pool that somebody waits for, and may run for hours.

        Args:
            work: is given the connection, with no transaction begun.

        Raises:
            ConfigurationError: the database is SQLite in memory, which no second connection sees; or called
                straight from a coroutine on an async engine.
        """
        if self.in_memory:
            raise ConfigurationError(
                "SQLite in memory is seen by one connection only: use a file for what runs beside others"
            )
        if self._async_pool is not None:
            return self._run_in_loop(self._async_pool, work)
        # Its connections are all detached: it keeps what it has compiled, and no connection.
        if self._lone is None:
            self._lone = create_engine(self._url, pool=self._engine.pool.recreate(), **self._transactional)
        with self._lone.connect() as connection:
            connection.detach()
            return work(connection)

    def after_fork(self) -> None:
        """Forget the parent's connections without closing them."""
        if self.in_memory:
            self._lock = threading.RLock()
        elif self._async_pool is None:
            self._engine.dispose(close=False)
            self._lone = None

    def close(self) -> None:
        """Close what is open."""
        if self._async_pool is None and not self.in_memory:
            self._engine.dispose()
            if self._lone is not None:
                self._lone.dispose()

    def _run_in_loop(self, pool: Pool, work: Work[T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._run_async(pool, work))
        raise ConfigurationError(
            "this call would block the event loop: use await asyncio.to_thread(...), "
            "as in await asyncio.to_thread(keyring.warm, tenants)"
        )

    async def _run_async(self, pool: Pool, work: Work[T]) -> T:
        # Connections of an async driver belong to one event loop: each unit of work has its own pool.
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(self._url, pool=pool.recreate(), **self._transactional)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()


def _committed(work: Work[T], connection: Connection) -> T:
    with connection.begin():
        return work(connection)


def _hurried(work: Work[T], connection: Connection) -> T:
    """Do the work without waiting for SQLite's lock."""
    patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    connection.rollback()
    try:
        return _committed(work, connection)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(patience)}")


def _is_memory(engine: Engine) -> bool:
    database, mode = engine.url.database or "", engine.url.query.get("mode")
    named = database == "" or ":memory:" in database or "mode=memory" in database
    return engine.dialect.name == "sqlite" and (named or mode == "memory")


def _memory_engine(engine: Engine) -> tuple[Engine, Any]:
    if engine not in _memory_engines:
        keys = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        _memory_engines[engine] = keys, threading.RLock()
    return _memory_engines[engine]
