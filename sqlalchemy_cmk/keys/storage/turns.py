"""Turns: threads that write to one SQLite file go one after the other, in the order in which they came.

SQLite lets a writer that finds the file locked look again now and then, and one that looks in time is
next. Where a commit takes a tenth of a second, one of eight threads is passed over for the five seconds
after which it gives up, although nobody has held the lock for long.
"""

from __future__ import annotations

import threading
from collections import deque

PATIENCE = 5.0


class Turns:
    """A queue of threads, the first of which goes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    def take(self, patience: float = PATIENCE) -> threading.Event:
        """Wait for a turn, and return it.

        Args:
            patience: how many seconds to wait. A thread in front may wait for somebody outside of the queue:
                who has no turn by then goes without one.
        """
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            self._queue[0].set()
        if not turn.wait(patience):
            with self._lock:
                if not turn.is_set():
                    self._queue.remove(turn)
        return turn

    def end(self, turn: threading.Event) -> None:
        """End a turn; the next in the queue goes."""
        with self._lock:
            if turn in self._queue:
                self._queue.remove(turn)
            if self._queue:
                self._queue[0].set()
