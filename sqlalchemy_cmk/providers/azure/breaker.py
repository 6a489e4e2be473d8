"""A circuit breaker: a dead vault is asked now and then, and does not hold up every thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import SystemRandom

FAILURES = 2
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

_random = SystemRandom()


class CircuitBreaker:
    """Counts failures in a row; after two it lets one caller through at the end of each pause.

    Pauses double from one second to half a minute, with jitter.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._shut_until = 0.0

    def lets_through(self) -> bool:
        """Tell whether the caller may ask; of those who wait for a pause to end, one may."""
        with self._lock:
            now = self._clock()
            if now < self._shut_until:
                return False
            if self._failures >= FAILURES:
                self._shut_until = now + self._pause()
            return True

    @property
    def tripped(self) -> bool:
        """Whether the last callers got no answer."""
        return self._failures >= FAILURES

    def succeeded(self) -> None:
        """Note an answer."""
        with self._lock:
            self._failures, self._shut_until = 0, 0.0

    def failed(self, asked_for: float = 0.0) -> None:
        """Note that there was none.

        Args:
            asked_for: seconds for which the vault asked to be left alone (``Retry-After``).
        """
        with self._lock:
            self._failures += 1
            pause = self._pause() if self._failures >= FAILURES else 0.0
            self._shut_until = max(
                self._shut_until, self._clock() + max(pause, min(asked_for, LONGEST_PAUSE))
            )

    def _pause(self) -> float:
        doublings = min(max(self._failures - FAILURES, 0), 10)
        longest = min(FIRST_PAUSE * float(2**doublings), LONGEST_PAUSE)
        return longest * _random.uniform(0.5, 1.0)
