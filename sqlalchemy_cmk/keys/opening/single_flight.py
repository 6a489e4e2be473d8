"""Single flight: callers that ask for the same thing at the same time share one call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from sqlalchemy_cmk.runtime.blocking import Abandoned, in_a_task, on_the_bridge, running_loop, wait_for

T = TypeVar("T")

# Seconds after which a caller looks whether the loop of another thread, which makes its call, still runs.
LOOK_EVERY = 1.0


class SingleFlight:
    """Runs at most one call for a key at a time and gives its result to every caller.

    Under asyncio the call is a task of its own, and a caller that waits holds no thread. It goes on when the
    caller that began it is cancelled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}

    def do(self, key: Hashable, call: Callable[[], T], meanwhile: Callable[[], T | None] = lambda: None) -> T:
        """Return ``call()``, or the result of the call that is already under way for this key.

        Args:
            key: identifies the call.
            call: makes the call.
            meanwhile: returns what a caller uses instead of waiting for a call under way; where it returns
                ``None``, the caller waits.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leads = flight is None or flight.is_stranded
                if flight is None or leads:
                    flight = self._flights[key] = _Flight(running_loop() if on_the_bridge() else None)
            if leads and flight.loop is not None:
                in_a_task(call).add_done_callback(partial(self._end, key, flight))
            elif leads:
                self._make(key, flight, call)
            elif (substitute := meanwhile()) is not None:
                return substitute
            elif flight.waits_for_this_thread:
                return call()
            try:
                result: T = flight.wait()
            except Abandoned:
                continue
            finally:
                del flight  # an error's traceback holds this frame, which must not hold the error
            return result

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._lock = threading.Lock()
        self._flights = {}

    def _make(self, key: Hashable, flight: _Flight, call: Callable[[], Any]) -> None:
        made: Future[Any] = Future()
        try:
            made.set_result(call())
        except Exception as error:
            made.set_exception(error)
        except BaseException:  # this thread was interrupted, and not the call of the others
            made.set_exception(Abandoned())
            raise
        finally:
            self._end(key, flight, made)
            del flight, made

    def _end(self, key: Hashable, flight: _Flight, made: Future[Any]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if made.exception() is None:
            flight.landed.set_result(made.result())
        else:
            flight.landed.set_exception(made.exception())


class _Flight:
    """A call that is under way.

    Attributes:
        loop: the event loop that makes it; ``None`` where a thread does.
        landed: its result.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.landed: Future[Any] = Future()

    @property
    def is_stranded(self) -> bool:
        """Whether its loop was stopped or closed, so that it may never end."""
        return self.loop is not None and not self.loop.is_running() and not self.landed.done()

    @property
    def waits_for_this_thread(self) -> bool:
        """Whether it can only end once this thread goes on with its event loop, so that it must not wait."""
        return self.loop is not None and self.loop is running_loop() and not on_the_bridge()

    def wait(self) -> Any:
        """Return the call's result, or raise its error.

        Raises:
            Abandoned: it has none, and somebody has to make the call anew.
        """
        if self.loop is None or self.loop is running_loop():
            wait_for(self.landed)
        else:
            while not wait_for(self.landed, LOOK_EVERY):
                if self.is_stranded:
                    raise Abandoned
        try:
            return self.landed.result()
        finally:
            del self
