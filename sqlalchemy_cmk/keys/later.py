"""Writes that nobody waits for: a thread of its own makes them soon, and again until they succeed."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Hashable
from weakref import WeakSet

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.forks import watch_forks

logger = logging.getLogger("sqlalchemy_cmk.keys")

DELAY = 0.5


class Later:
    """Runs jobs within about :data:`DELAY` seconds; one with the key of a waiting job takes its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._jobs: dict[Hashable, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        _all.add(self)
        watch_forks(self)

    def do(self, key: Hashable, job: Callable[[], None]) -> None:
        """Have a job done soon."""
        with self._lock:
            self._jobs[key] = job
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._work, name="cmk-later", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Do now what waits; what fails waits on."""
        with self._working:
            with self._lock:
                jobs = dict(self._jobs)
            for key, job in jobs.items():
                try:
                    job()
                except CmkError as error:
                    logger.warning("key events cannot be written now: %s", type(error).__name__)
                    continue
                with self._lock:
                    if self._jobs.get(key) is job:
                        del self._jobs[key]

    def close(self) -> None:
        """Do what waits, and end the thread."""
        self._closed.set()
        self.flush()

    def after_fork(self) -> None:
        """Leave the parent's jobs to the parent."""
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._jobs = {}
        self._thread = None

    def _work(self) -> None:
        while not self._closed.wait(DELAY):
            self.flush()
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return


_all: WeakSet[Later] = WeakSet()


def _flush_all() -> None:
    for later in list(_all):
        later.flush()


atexit.register(_flush_all)
