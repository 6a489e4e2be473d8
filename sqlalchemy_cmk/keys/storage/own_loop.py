"""An event loop of the keyring's own, and the connection of an asynchronous driver that belongs to it."""

from __future__ import annotations

import asyncio
import inspect
import os
import selectors
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from sqlalchemy import Connection, event
from sqlalchemy.pool import ConnectionPoolEntry

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Tasks = set[asyncio.Task[Any]]

# How long a server may take to say good-bye.
CLOSE_SECONDS = 2.0

# Not epoll or kqueue: their object in the kernel is shared with a forked child, which would take the parent's
# sockets out of it when it collects its copy of the loop.
if sys.platform == "win32":
    Selector = selectors.SelectSelector
else:
    Selector = selectors.PollSelector


class OwnLoop:
    """An event loop, and an engine whose pool serves this loop alone.

    It runs only while a thread runs work on it. That may be another thread each time, one at a time.

    Args:
        engine: used here only; closed with the loop.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._tasks: Tasks = set()
        self._runner = asyncio.Runner(loop_factory=partial(_new_loop, self._tasks))
        # The runner keeps a copy of the context in which it makes its loop: not one of the application's.
        Context().run(self._runner.get_loop)
        # A driver's thread (aiosqlite's) keeps the connection, and the loop, when they are forgotten.
        opened = _open_connections(engine)
        self._finalizer = finalize(self, _close_forgotten, os.getpid(), self._runner, opened)
        self._finalizer.atexit = False

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was begun on the loop has ended. It has not where work was interrupted."""
        return not self._tasks

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run work on the connection; it is given back to the pool afterwards."""
        return self._runner.run(self._connected(work), context=copy_context())

    def close(self) -> None:
        """Close the connection, and cancel what still runs."""
        self._finalizer.detach()
        _close(self._runner, self._engine.dispose())

    async def _connected(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)


def _new_loop(tasks: Tasks) -> asyncio.AbstractEventLoop:
    """Return a loop that notes its tasks until they have ended."""

    def begin(
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    loop = asyncio.SelectorEventLoop(Selector())
    loop.set_task_factory(begin)
    return loop


def _open_connections(engine: AsyncEngine) -> dict[Any, Any]:
    """Return where an engine's open connections are noted: the driver's, by SQLAlchemy's around them.

    What closes a loop that is forgotten may not hold the engine: it would never be forgotten.
    """
    found: dict[Any, Any] = {}

    def opened(connection: Any, record: ConnectionPoolEntry) -> None:
        found[connection] = record.driver_connection

    def closed(connection: Any, _: ConnectionPoolEntry) -> None:
        found.pop(connection, None)

    event.listen(engine.sync_engine, "connect", opened)
    event.listen(engine.sync_engine, "close", closed)
    event.listen(engine.sync_engine, "detach", closed)
    return found


def _close_forgotten(owner: int, runner: asyncio.Runner, connections: dict[Any, Any]) -> None:
    # A forked child leaves its parent's alone. Garbage is collected anywhere, also where a loop runs.
    if os.getpid() == owner:
        work = partial(_close, runner, _closing(connections))
        threading.Thread(target=work, name="cmk-close", daemon=True).start()


def _close(runner: asyncio.Runner, closing: Coroutine[Any, Any, None]) -> None:
    try:
        with suppress(TimeoutError):
            runner.run(asyncio.wait_for(closing, CLOSE_SECONDS))
    finally:
        runner.close()


async def _closing(connections: dict[Any, Any]) -> None:
    for connection in connections.values():
        closed = connection.close()
        if inspect.isawaitable(closed):
            await closed
