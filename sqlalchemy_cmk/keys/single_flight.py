"""One call for many callers: whoever asks while an answer is on its way waits for that answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class SingleFlight:
    """Runs at most one call for a key at a time and hands its outcome to everyone who asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[Any]] = {}

    def do(self, key: Hashable, call: Callable[[], T], meanwhile: Callable[[], T | None] = lambda: None) -> T:
        """Return ``call()``, or the outcome of the one already under way for this key.

        Args:
            key: what is asked for.
            call: asks for it.
            meanwhile: what serves those who come while a call is under way; they wait where it is ``None``.
        """
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if leads:
            self._lead(key, flight, call)
        elif (serves := meanwhile()) is not None:
            return serves
        result: T = flight.result()
        return result

    def _lead(self, key: Hashable, flight: Future[Any], call: Callable[[], Any]) -> None:
        try:
            flight.set_result(call())
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._lock:
                self._flights.pop(key, None)

    def after_fork(self) -> None:
        """Forget the flights of the parent's threads: nobody lands them here."""
        self._lock = threading.Lock()
        self._flights = {}
