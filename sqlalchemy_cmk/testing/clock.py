"""The emulator's clock, which a test can freeze and move forward."""

from __future__ import annotations

import threading
import time


class Clock:
    """The clock for the dates of keys and the purging of deleted keys.

    Tokens expire by real time, because clients judge their age by real time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = 0.0
        self._frozen: float | None = None

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        with self._lock:
            return self._now()

    def freeze(self, at: float | None = None) -> None:
        """Stop the clock, at ``at`` if it is given."""
        with self._lock:
            self._frozen = self._now() if at is None else at

    def advance(self, seconds: float) -> None:
        """Move the clock forward, whether it runs or is frozen."""
        with self._lock:
            if self._frozen is None:
                self._ahead += seconds
            else:
                self._frozen += seconds

    def resume(self) -> None:
        """Let the clock run again from its current time."""
        with self._lock:
            if self._frozen is not None:
                self._ahead = self._frozen - time.time()
                self._frozen = None

    def _now(self) -> float:
        return time.time() + self._ahead if self._frozen is None else self._frozen
