"""How many calls of KEKs batches make at once, whatever batches there are. See :class:`Slots`."""

from __future__ import annotations

import threading

from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.forks import watch_forks

# Seconds after which a call is taken to hang. It must not keep the calls of other vaults waiting.
HANGS = 2.0


class Slots:
    """So many calls at once. One that hangs does not count.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._taken: dict[int, float] = {}
        self._last = 0
        watch_forks(self)

    def take(self) -> int | None:
        """Return a slot, to be given back; ``None`` where all are taken."""
        with self._lock:
            now = elapsed()
            if sum(now - since < HANGS for since in self._taken.values()) >= self._count:
                return None
            self._last += 1
            self._taken[self._last] = now
            return self._last

    def use_again(self, slot: int) -> None:
        """Begin another call in a slot that is taken."""
        with self._lock:
            self._taken[slot] = elapsed()

    def give_back(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken.pop(slot, None)

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._lock = threading.Lock()
        self._taken = {}
