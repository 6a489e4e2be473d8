"""Blocking work under asyncio: moved to the library's own threads, and waited for while the loop goes on.

The three functions of SQLAlchemy's asyncio bridge that are used here are not documented. They are not in
``databases/sqlalchemy_private/``, because that is a layer above, and the same tests watch them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_in_thread
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy.util import concurrency

from sqlalchemy_cmk.runtime.threads import Threads

T = TypeVar("T")

# What people ask for now and then, such as a tenant's status. Never the application's default executor.
_threads = Threads("cmk-work", 16)

_tasks: set[asyncio.Task[Any]] = set()


class Abandoned(Exception):
    """Work ended without a result, since its loop ended or was stopped: its caller starts over."""


def on_the_bridge() -> bool:
    """Return whether this code runs inside SQLAlchemy's asyncio bridge, which needs greenlet."""
    return "sqlalchemy.ext.asyncio" in sys.modules and concurrency.in_greenlet()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def off_the_loop(work: Callable[[], T], threads: Threads = _threads, place: str = "") -> T:
    """Run blocking work and return its result; under the asyncio bridge in a thread, off the loop.

    Args:
        work: the work.
        threads: where it runs under the bridge.
        place: what it calls; see :class:`~sqlalchemy_cmk.runtime.threads.Threads`.
    """
    if not on_the_bridge():
        return work()
    future = threads.submit(place, work)
    try:
        wait_for(future)
    except BaseException:  # the caller was cancelled
        future.cancel()
        raise
    try:
        return future.result()
    finally:
        del future  # an error's traceback holds this frame, which must not hold the error


def off_any_loop(work: Callable[[], T]) -> T:
    """Run work that runs a loop of its own, in another thread where a loop runs in this one; wait for it."""
    if running_loop() is None:
        return work()
    future = _threads.submit("", work)
    wait_for(future)
    return future.result()


async def in_a_thread(work: Callable[[], T]) -> T:
    """Run blocking work on one of the library's own threads and return its result."""
    return await asyncio.wrap_future(_threads.submit("", work))


def wait_for(future: Future[Any], seconds: float | None = None) -> bool:
    """Wait until a future is done, and return whether it is; under the asyncio bridge the loop goes on.

    Args:
        future: the future.
        seconds: the longest wait; ``None`` for any.
    """
    if on_the_bridge():
        concurrency.await_only(_done(future, seconds))
    else:
        wait_in_thread([future], seconds)
    return future.done()


def pause(seconds: float) -> None:
    """Sleep; under the asyncio bridge the loop goes on."""
    if on_the_bridge():
        concurrency.await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def in_a_task(work: Callable[[], T]) -> Future[T]:
    """Run work on the asyncio bridge, in a task of its own: it goes on when its caller is cancelled.

    Returns:
        Its future; it fails with :class:`Abandoned` where the loop ends first.
    """
    future: Future[T] = Future()

    def landed(task: asyncio.Task[T]) -> None:
        _tasks.discard(task)
        if task.cancelled():
            future.set_exception(Abandoned())
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    task = asyncio.get_running_loop().create_task(concurrency.greenlet_spawn(work))
    _tasks.add(task)
    task.add_done_callback(landed)
    return future


async def _done(future: Future[Any], seconds: float | None) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), seconds)
