"""The emulator's time: it runs on its own, stands still, or jumps, as a test wants it."""

from __future__ import annotations

import threading
import time


class Clock:
    """The time by which keys expire and deleted keys are purged.

    Tokens do not follow it: a client judges their age by the real time, and so does the emulator.
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
        """Stand still, at ``at`` if it is given."""
        with self._lock:
            self._frozen = self._now() if at is None else at

    def advance(self, seconds: float) -> None:
        """Jump forward, whether the clock runs or stands still."""
        with self._lock:
            if self._frozen is None:
                self._ahead += seconds
            else:
                self._frozen += seconds

    def resume(self) -> None:
        """Run again from where it stands."""
        with self._lock:
            if self._frozen is not None:
                self._ahead = self._frozen - time.time()
                self._frozen = None

    def _now(self) -> float:
        return time.time() + self._ahead if self._frozen is None else self._frozen
