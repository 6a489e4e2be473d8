"""Single flight: callers that ask for the same thing at the same time share one call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy_cmk.keys.opening.flows import done, failed
from sqlalchemy_cmk.runtime.blocking import Abandoned, in_a_task, on_the_bridge, running_loop, wait_for

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Land = Callable[[K, Future[Any]], None]

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

        def one(_: list[Hashable], land: Land[Hashable]) -> None:
            land(key, done(call()))

        found: dict[Hashable, Future[T]] = {}
        self.do_all([key], one, lambda _: meanwhile(), found.__setitem__)
        return found.pop(key).result()

    def do_all(
        self,
        keys: Iterable[K],
        call: Callable[[list[K], Land[K]], None],
        meanwhile: Callable[[K], Any],
        landed: Land[K],
    ) -> None:
        """Make one call for many keys, except for those that a call is under way for.

        Args:
            keys: identify what is called for.
            call: is given the keys that are left to it, and has to land each with its result, which callers
                of that key then have, whatever becomes of the others. What it raises is the result of those
                that it has not landed.
            meanwhile: as for :meth:`do`, given the key.
            landed: is given each key with its result, in the order in which they come.
        """
        left = dict.fromkeys(keys)

        def land(key: K, result: Future[Any]) -> None:
            del left[key]
            landed(key, result)

        while left:
            led, joined = self._board(left)
            if led:
                self._lead(led, call, land)
            for key, flight in joined.items():
                if (substitute := meanwhile(key)) is not None:
                    land(key, done(substitute))
                elif flight.waits_for_this_thread:
                    call([key], land)
                elif flight.wait():
                    land(key, flight.landed)

    def _board(self, keys: Iterable[K]) -> tuple[dict[K, _Flight], dict[K, _Flight]]:
        """Return new flights for the keys that have none, and the flights of the others."""
        led, joined = {}, {}
        with self._lock:
            for key in keys:
                flight = self._flights.get(key)
                if flight is None or flight.is_stranded:
                    led[key] = self._flights[key] = _Flight(running_loop() if on_the_bridge() else None)
                else:
                    joined[key] = flight
        return led, joined

    def _lead(self, led: dict[K, _Flight], call: Callable[[list[K], Land[K]], None], landed: Land[K]) -> None:
        def make() -> None:
            self._make(led, call, landed)

        if not on_the_bridge():
            make()
            return
        task = in_a_task(make)
        # It ends without having begun where the loop does.
        task.add_done_callback(lambda _: self._abandon(led))
        wait_for(task)

    def _make(self, led: dict[K, _Flight], call: Callable[[list[K], Land[K]], None], landed: Land[K]) -> None:
        def land(key: K, result: Future[Any]) -> None:
            self._end(key, led[key], result)
            landed(key, result)

        try:
            call(list(led), land)
        except Exception as error:
            for key in [one for one, flight in led.items() if not flight.landed.done()]:
                land(key, failed(error))
        finally:
            self._abandon(led)  # this thread was interrupted, and not the call of the others
            led.clear()  # an error's traceback holds this frame, which must not hold the error

    def _abandon(self, led: Mapping[K, _Flight]) -> None:
        for key, flight in led.items():
            if not flight.landed.done():
                self._end(key, flight, failed(Abandoned()))

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._lock = threading.Lock()
        self._flights = {}

    def _end(self, key: Hashable, flight: _Flight, result: Future[Any]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        error = result.exception()
        if error is None:
            flight.landed.set_result(result.result())
        else:
            flight.landed.set_exception(error)
        del error


class _Flight:
    """A call that is under way.

    Attributes:
        loop: the event loop that makes it; ``None`` if a thread does.
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

    def wait(self) -> bool:
        """Wait for the call's result; ``False`` if it has none, and somebody has to make the call again."""
        if self.loop is None or self.loop is running_loop():
            wait_for(self.landed)
        else:
            while not wait_for(self.landed, LOOK_EVERY):
                if self.is_stranded:
                    return False
        return not isinstance(self.landed.exception(), Abandoned)
