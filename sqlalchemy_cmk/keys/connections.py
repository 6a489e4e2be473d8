"""The keyring's own connections: never the application's, so that it cannot wait for itself.

A key is committed in a transaction of its own, and a row that needs an unknown DEK must not wait for a
connection that its own caller holds. Each unit of work here is one short transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
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
            self._engine = create_engine(sync.url)
        else:
            self._engine = create_engine(sync.url, pool=sync.pool.recreate())

    def run(self, work: Work[T]) -> T:
        """Run one unit of work in a transaction of its own and commit it.

        Raises:
            ConfigurationError: called straight from a coroutine on an async engine.
        """
        if self._async_pool is not None:
            return self._run_in_loop(self._async_pool, work)
        with self._lock, self._engine.begin() as connection:
            return work(connection)

    def after_fork(self) -> None:
        """Forget the parent's connections without closing them."""
        if self.in_memory:
            self._lock = threading.RLock()
        elif self._async_pool is None:
            self._engine.dispose(close=False)

    def close(self) -> None:
        """Close what is open."""
        if self._async_pool is None and not self.in_memory:
            self._engine.dispose()

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

        engine = create_async_engine(self._url, pool=pool.recreate())
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()


def _is_memory(engine: Engine) -> bool:
    database = engine.url.database or ""
    return engine.dialect.name == "sqlite" and (
        database in ("", ":memory:")
        or "mode=memory" in f"{database}{engine.url.query}"
        or ":memory:" in database
    )


def _memory_engine(engine: Engine) -> tuple[Engine, Any]:
    if engine not in _memory_engines:
        keys = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        _memory_engines[engine] = keys, threading.RLock()
    return _memory_engines[engine]
