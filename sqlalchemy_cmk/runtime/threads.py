"""Threads of the library's own for calls that may hang, with a limit for each place that is called.

A place is whatever hangs as a whole: one vault, one token's module. What hangs there takes that place's
threads and no other's, and never those of the application. See :class:`Threads`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from sqlalchemy_cmk.runtime.forks import watch_forks

T = TypeVar("T")

IDLE_SECONDS = 5.0


class Threads:
    """Runs work on threads that are made on demand, and end when they have been idle for a while.

    They are daemons: work that hangs does not hold up the end of the process, nor a fork. Work runs in a copy
    of its caller's context.

    Args:
        name: the name of the threads.
        at_once: how much work of one place runs at once; more of it waits.
    """

    def __init__(self, name: str, at_once: int) -> None:
        self._name = name
        self._at_once = at_once
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        watch_forks(self)

    def submit(self, place: str, work: Callable[[], T]) -> Future[T]:
        """Run work on a thread and return its future. It can be cancelled until it has begun.

        Args:
            place: what the work calls.
            work: does it.

        Raises:
            RuntimeError: no thread can be started: the process ends, or the system has no more of them.
        """
        future: Future[T] = Future()
        job = _Job(future, copy_context().run, work)
        with self._lock:
            at = self._places.get(place)
            if at is None:
                at = self._places[place] = _Place(place, self._lock)
            at.jobs.append(job)
            if at.idle >= len(at.jobs):
                at.wanted.notify()
            elif at.threads < self._at_once:
                self._start(at, job)
        return future

    def count(self, place: str) -> int:
        """Return how many threads a place has now."""
        with self._lock:
            return self._places[place].threads if place in self._places else 0

    def close(self) -> None:
        """Let idle threads end now. Work that is under way is finished."""
        with self._lock:
            for place in self._places.values():
                place.closing = True
                place.wanted.notify_all()

    def after_fork(self) -> None:
        """Forget the parent's threads, which do not run in the child."""
        self._lock = threading.Lock()
        self._places = {}

    def _start(self, place: _Place, job: _Job) -> None:
        thread = threading.Thread(target=_serve, args=(self._places, place), name=self._name, daemon=True)
        place.threads += 1
        try:
            thread.start()
        except RuntimeError:
            place.threads -= 1
            if place.threads == 0:
                place.jobs.remove(job)
                place.forget(self._places)
                raise


class _Job:
    """Work that waits for a thread, and the caller that waits for it."""

    __slots__ = ("_future", "_run", "_work")

    def __init__(self, future: Future[Any], run: Callable[..., Any], work: Callable[[], Any]) -> None:
        self._future = future
        self._run = run
        self._work = work

    def do(self) -> None:
        """Do the work, unless nobody waits for it any more."""
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            result = self._run(self._work)
        except BaseException as error:
            self._future.set_exception(error)
            # The error's traceback holds this frame: without the future in it there is no cycle.
            del self._future
        else:
            self._future.set_result(result)


class _Place:
    """The threads and the waiting work of one place."""

    def __init__(self, name: str, lock: threading.Lock) -> None:
        self.name = name
        self.jobs: deque[_Job] = deque()
        self.wanted = threading.Condition(lock)
        self.threads = 0
        self.idle = 0
        self.closing = False

    def next(self) -> _Job | None:
        """Wait for work, with the lock held; ``None`` where none has come for a while."""
        if not self.jobs and not self.closing:
            self.idle += 1
            self.wanted.wait(IDLE_SECONDS)
            self.idle -= 1
        return self.jobs.popleft() if self.jobs else None

    def forget(self, places: dict[str, _Place]) -> None:
        """Leave no trace of a place that has no threads any more: there may be many in a process's life."""
        if self.threads == 0 and places.get(self.name) is self:
            del places[self.name]


def _serve(places: dict[str, _Place], place: _Place) -> None:
    # Not a method: an idle thread keeps neither the threads' owner alive nor the last result.
    while True:
        with place.wanted:
            job = place.next()
            if job is None:
                place.threads -= 1
                place.forget(places)
                return
        job.do()
        del job
