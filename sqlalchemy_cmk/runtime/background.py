"""A background writer: runs jobs that no caller waits for, and repeats them until they succeed."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Hashable
from weakref import WeakSet, ref

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.runtime.forks import watch_forks

logger = logging.getLogger("sqlalchemy_cmk.keys")

DELAY = 0.5
LONGEST_DELAY = 30.0


class BackgroundWriter:
    """Runs jobs in a thread of its own, within about :data:`DELAY` seconds.

    A job replaces a waiting job of the same key. A job that fails with one of the library's errors stays in
    the queue and runs again, after twice the time at each failure and at most :data:`LONGEST_DELAY` seconds.
    Logs have one line when writing fails, and one when it works again. What still waits when the process
    exits is run then. While writing fails, the thread does not keep the writer alive, and ends with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._jobs: dict[Hashable, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._failing = False
        self._closed = threading.Event()
        _all.add(self)
        watch_forks(self)

    def submit(self, key: Hashable, job: Callable[[], None]) -> None:
        """Queue a job, in place of a waiting one with the same key."""
        with self._lock:
            self._jobs[key] = job
            if self._thread is None and not self._closed.is_set():
                self._start()

    def flush(self) -> None:
        """Run every waiting job now; those that fail stay in the queue."""
        with self._working:
            with self._lock:
                jobs = dict(self._jobs)
            failures = [why for why in (self._failure(key, job) for key, job in jobs.items()) if why]
            if jobs:
                self._tell(failures)

    def close(self) -> None:
        """Run every waiting job and stop the thread."""
        self._closed.set()
        self.flush()
        if self._jobs:
            logger.warning("key events were not written: their keyring was closed before they could be")

    def after_fork(self) -> None:
        """Leave the parent's jobs to the parent."""
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._jobs = {}
        self._thread = None
        self._failing = False

    def _tell(self, failures: list[str]) -> None:
        if failures and not self._failing:
            logger.warning("key events cannot be written now, and wait: %s", failures[0])
        elif self._failing and not failures:
            logger.warning("key events are written again")
        self._failing = bool(failures)

    def _failure(self, key: Hashable, job: Callable[[], None]) -> str:
        """Run a job, and take it from the queue unless it fails; return the name of its error."""
        try:
            job()
        except CmkError as error:
            return type(error).__name__
        with self._lock:
            if self._jobs.get(key) is job:
                del self._jobs[key]
        return ""

    def _start(self) -> None:
        self._thread = threading.Thread(target=_work, args=([self],), name="cmk-background", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the process ends, or the system has no more threads: the next job tries again
            self._thread = None

    def _again(self) -> bool | None:
        """Run every waiting job; return whether one failed, or ``None`` if the thread has to end."""
        try:
            self.flush()
        except BaseException:
            with self._lock:
                self._thread = None
            raise
        with self._lock:
            if self._jobs:
                return self._failing
            self._thread = None
            return None


def _work(holder: list[BackgroundWriter]) -> None:
    """Run a writer's jobs until there are none.

    Args:
        holder: the writer, which is taken out: a thread keeps its arguments as long as it runs.
    """
    known, delay = ref(holder[0]), DELAY
    closed, writer = holder[0]._closed, known()
    holder.clear()
    while not closed.wait(delay):
        writer = writer or known()
        if writer is None:
            logger.warning("key events were not written: their keyring was dropped and not closed")
            return
        failing = writer._again()
        if failing is None:
            return
        delay = min(2 * delay, LONGEST_DELAY) if failing else DELAY
        if failing:
            writer = None


_all: WeakSet[BackgroundWriter] = WeakSet()


def _flush_all() -> None:
    for writer in list(_all):
        writer.flush()


atexit.register(_flush_all)
