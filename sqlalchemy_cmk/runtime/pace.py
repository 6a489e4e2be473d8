"""A rate limit for loops."""

from __future__ import annotations

import time

# Seconds by which somebody who has other things to do takes a turn late.
LATE = 0.05


class Pace:
    """Keeps a loop at or below a rate.

    Args:
        rate: the most turns per second; ``None`` for no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._every = 1 / rate if rate else 0.0
        self._next = time.monotonic()

    @property
    def due_in(self) -> float:
        """Seconds until the next turn is due."""
        return max(0.0, self._next - time.monotonic())

    def wait(self, turns: int = 1) -> None:
        """Sleep until the next turns are due."""
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + turns * self._every

    def take(self) -> None:
        """Take a turn that is due. One that was taken late does not put off those that follow."""
        self._next = max(time.monotonic() - LATE, self._next) + self._every
