"""A background writer: runs jobs that no caller waits for, and repeats them until they succeed."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Hashable
from weakref import WeakSet

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.runtime.forks import watch_forks

logger = logging.getLogger("sqlalchemy_cmk.keys")

DELAY = 0.5


class BackgroundWriter:
    """Runs jobs in a thread of its own, within about :data:`DELAY` seconds.

    A job replaces a waiting job of the same key. A job that fails with one of the library's errors stays in
    the queue and runs again. What still waits when the process exits is run then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._jobs: dict[Hashable, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        _all.add(self)
        watch_forks(self)

    def submit(self, key: Hashable, job: Callable[[], None]) -> None:
        """Queue a job, in place of a waiting one with the same key."""
        with self._lock:
            self._jobs[key] = job
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._work, name="cmk-background", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Run every waiting job now; those that fail stay in the queue."""
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
        """Run every waiting job and stop the thread."""
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


_all: WeakSet[BackgroundWriter] = WeakSet()


def _flush_all() -> None:
    for writer in list(_all):
        writer.flush()


atexit.register(_flush_all)
