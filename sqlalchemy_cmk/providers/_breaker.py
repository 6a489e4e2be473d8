"""A circuit breaker: a service that is down is called now and then, and does not hold up every thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import SystemRandom

from sqlalchemy_cmk.runtime.clock import elapsed

FAILURES = 2
FIRST_PAUSE = 1.0
MAX_PAUSE = 30.0

_random = SystemRandom()


class CircuitBreaker:
    """Counts failures in a row; after two of them it lets one caller through at the end of each pause.

    Pauses double from one second to half a minute, with jitter.

    Args:
        clock: returns monotonic seconds; by default they count the time for which the machine sleeps too.
    """

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._shut_until = 0.0

    def lets_through(self) -> bool:
        """Return whether the caller may call; at the end of a pause this is true for one caller."""
        with self._lock:
            now = self._clock()
            if now < self._shut_until:
                return False
            if self._failures >= FAILURES:
                self._shut_until = now + self._pause()
            return True

    @property
    def tripped(self) -> bool:
        """Whether the last calls failed."""
        return self._failures >= FAILURES

    def succeeded(self) -> None:
        """Record that a call succeeded."""
        with self._lock:
            self._failures, self._shut_until = 0, 0.0

    def failed(self, asked_for: float = 0.0) -> None:
        """Record that a call failed.

        Args:
            asked_for: seconds for which the service asked not to be called (``Retry-After``).
        """
        with self._lock:
            self._failures += 1
            pause = self._pause() if self._failures >= FAILURES else 0.0
            self._shut_until = max(self._shut_until, self._clock() + max(pause, min(asked_for, MAX_PAUSE)))

    def _pause(self) -> float:
        doublings = min(max(self._failures - FAILURES, 0), 10)
        longest = min(FIRST_PAUSE * float(2**doublings), MAX_PAUSE)
        return longest * _random.uniform(0.5, 1.0)
