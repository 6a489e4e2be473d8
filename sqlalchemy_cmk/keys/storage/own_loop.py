"""Connections of an asynchronous driver, each in an event loop of its own.

A driver's connection belongs to the loop in which it was opened, and the application's loop is not to wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, NullPool

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.blocking import running_loop

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class OwnLoop:
    """Opens a connection for each piece of work, and runs both in a new event loop.

    Args:
        engine: the application's engine, whose URL, driver arguments and pool events are used.
        options: further arguments of ``create_engine``.
    """

    def __init__(self, engine: AsyncEngine, options: dict[str, Any]) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._pool = engine.sync_engine.pool.recreate()
        # The only pool that serves several loops, since it keeps no connection:
        # https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html#using-multiple-asyncio-event-loops
        self._engine = create_async_engine(engine.url, poolclass=NullPool, creator=self._open, **options)
        self._first = threading.Lock()
        self._has_connected = False

    def after_fork(self) -> None:
        """Take new locks: a thread of the parent may hold ours, and the one of SQLAlchemy's pool."""
        self._first = threading.Lock()
        self._has_connected = False
        self.sync_engine.dispose(close=False)

    @property
    def sync_engine(self) -> Engine:
        """The engine whose events the connections fire."""
        return self._engine.sync_engine

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run work on a new connection, and close it.

        Raises:
            ConfigurationError: called directly from a coroutine.
        """
        if running_loop() is None:
            return asyncio.run(self._run(work))
        raise ConfigurationError(
            "this call would block the event loop: use await asyncio.to_thread(...), "
            "as in await asyncio.to_thread(keyring.warm, tenants)"
        )

    async def _run(self, work: Callable[[Connection], T]) -> T:
        async with AsyncExitStack() as stack:
            with self._alone_at_first():
                connection = await stack.enter_async_context(self._engine.connect())
            return await connection.run_sync(work)

    @contextmanager
    def _alone_at_first(self) -> Iterator[None]:
        # Until one connection is open, SQLAlchemy's pool holds an asyncio.Lock while it opens them. Another
        # loop that waits for that lock is never woken, or is refused it.
        if self._has_connected:
            yield
            return
        with self._first:
            yield
            self._has_connected = True

    def _open(self) -> Any:
        """Return a driver's connection, opened as the application's pool opens them."""
        connection = self._pool.recreate().connect()
        connection.detach()
        return connection.dbapi_connection
