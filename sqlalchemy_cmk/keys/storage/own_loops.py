"""A pool of connections of an asynchronous driver, each in an event loop of the keyring's own.

A driver's connection belongs to the loop in which it was opened, and the application's loop is not to wait.
One loop for all would not do: a unit of work is synchronous, and would hold up the others while it computes
or waits. So each connection has its loop, which runs in the thread that has work for it: between two units
nothing runs, and there is no thread to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.storage.own_loop import OwnLoop
from sqlalchemy_cmk.runtime.blocking import off_any_loop, running_loop

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

PATIENCE = 30.0


class OwnLoops:
    """Runs work on connections that are kept for the next, and on some that are opened for it alone.

    Args:
        make_engine: returns a new engine; each loop has one, with a pool that no other loop uses.
        at_once: how many of the kept connections there may be; who finds none free waits.
    """

    def __init__(self, make_engine: Callable[[], AsyncEngine], at_once: int) -> None:
        self._make_engine = make_engine
        self._at_once = at_once
        self.after_fork()

    def after_fork(self) -> None:
        """Start over, and leave the parent's loops and connections alone."""
        self._free = threading.BoundedSemaphore(self._at_once)
        self._pooled, self._apart = _Kept(), _Kept()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run work on one of the kept connections.

        Raises:
            ConfigurationError: called directly from a coroutine.
            sqlalchemy.exc.TimeoutError: none was free for 30 seconds.
        """
        _refuse_in_a_coroutine()
        if not self._free.acquire(timeout=PATIENCE):
            raise PoolTimeoutError(f"all {self._at_once} connections were in use for {PATIENCE:g} seconds")
        try:
            return self._run(self._pooled, work)
        finally:
            self._free.release()

    def run_apart(self, work: Callable[[Connection], T], **options: Any) -> T:
        """Run work on a connection that is opened for it alone, and closed afterwards.

        Args:
            work: called with the connection.
            options: execution options of the connection.

        Raises:
            ConfigurationError: called directly from a coroutine.
        """
        _refuse_in_a_coroutine()
        return self._run(self._apart, partial(_detached, work, options))

    def close(self) -> None:
        """Close the connections that are free now, and each of the others when its work has ended."""
        kept, self._pooled, self._apart = (self._pooled, self._apart), _Kept(), _Kept()
        off_any_loop(partial(_close_all, kept))

    def _run(self, kept: _Kept, work: Callable[[Connection], T]) -> T:
        loop = kept.take() or OwnLoop(self._make_engine())
        try:
            return loop.run(work)
        finally:
            kept.give_back(loop)


class _Kept:
    """The loops without work. The last one used goes first: its connection is the likeliest to be alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: list[OwnLoop] = []
        self._is_closed = False

    def take(self) -> OwnLoop | None:
        """Return a loop, to be given back; ``None`` if there is none."""
        with self._lock:
            return self._loops.pop() if self._loops else None

    def give_back(self, loop: OwnLoop) -> None:
        """Keep a loop for the next work, or close it where there is no next or its work has not ended."""
        with self._lock:
            keep = loop.is_at_rest and not self._is_closed
            if keep:
                self._loops.append(loop)
        if not keep:
            loop.close()

    def close(self) -> None:
        """Close the loops, and those that are given back later."""
        with self._lock:
            loops, self._loops, self._is_closed = self._loops, [], True
        for loop in loops:
            loop.close()


def _close_all(kept: Iterable[_Kept]) -> None:
    for one in kept:
        one.close()


def _detached(work: Callable[[Connection], T], options: dict[str, Any], connection: Connection) -> T:
    connection = connection.execution_options(**options)
    connection.detach()
    return work(connection)


def _refuse_in_a_coroutine() -> None:
    if running_loop() is not None:
        raise ConfigurationError(
            "this call would block the event loop: use await asyncio.to_thread(...), "
            "as in await asyncio.to_thread(keyring.warm, tenants)"
        )
