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

    A thread that has nothing more to do for one place serves any other. They are daemons: work that hangs
    does not hold up the end of the process, nor a fork. Work runs in a copy of its caller's context.

    Args:
        name: the name of the threads.
        at_once: how much work of one place runs at once; more of it waits.
    """

    def __init__(self, name: str, at_once: int) -> None:
        self._name = name
        self._at_once = at_once
        self._crew = _Crew()
        watch_forks(self)

    @property
    def alive(self) -> int:
        """How many threads there are, at work or idle."""
        return self._crew.threads

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
        crew = self._crew
        with crew.wanted:
            at = crew.places.setdefault(place, _Place(place))
            at.jobs.append(job)
            if at.threads < self._at_once:
                at.threads += 1
                crew.ready.append(at)
                if crew.free >= len(crew.ready):
                    crew.wanted.notify()
                else:
                    self._start(at, job)
        return future

    def count(self, place: str) -> int:
        """Return how many threads work for a place now."""
        at = self._crew.places.get(place)
        return 0 if at is None else at.threads

    def close(self, wait: float = 0) -> None:
        """Let idle threads end now. Work that is under way is finished.

        Args:
            wait: for how many seconds at most that is waited for.
        """
        crew, self._crew = self._crew, _Crew()
        with crew.wanted:
            crew.closing = True
            crew.wanted.notify_all()
            if wait:
                crew.wanted.wait_for(lambda: not crew.places, wait)

    def after_fork(self) -> None:
        """Forget the parent's threads, which do not run in the child."""
        self._crew = _Crew()

    def _start(self, place: _Place, job: _Job) -> None:
        crew = self._crew
        thread = threading.Thread(target=crew.serve, name=self._name, daemon=True)
        crew.threads += 1
        crew.free += 1
        try:
            thread.start()
        except RuntimeError:
            crew.threads -= 1
            crew.free -= 1
            crew.ready.remove(place)
            place.threads -= 1
            if place.threads == 0:
                place.jobs.remove(job)
                del crew.places[place.name]
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
    """The work of one place that waits, and how many threads work for it, or are about to."""

    __slots__ = ("jobs", "name", "threads")

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: deque[_Job] = deque()
        self.threads = 0


class _Crew:
    """The threads. They keep this alive, and not their owner.

    Attributes:
        wanted: its lock guards everything here; notified when there is something to do.
        places: those with work.
        ready: a place for each thread that it lacks: for each of these one is free.
        threads: how many there are.
        free: how many of them work for no place: they are idle, or have just been started.
        closing: whether idle threads end at once.
    """

    def __init__(self) -> None:
        self.wanted = threading.Condition(threading.Lock())
        self.places: dict[str, _Place] = {}
        self.ready: deque[_Place] = deque()
        self.threads = self.free = 0
        self.closing = False

    def serve(self) -> None:
        """Work for one place after the other, until there has been none for a while."""
        place: _Place | None = None
        while True:
            with self.wanted:
                if place is not None and not place.jobs:
                    self._leave(place)
                    place = None
                if place is None:
                    place = self._next()
                if place is None:
                    self.threads -= 1
                    return
                job = place.jobs.popleft() if place.jobs else None
            if job is not None:
                job.do()
            del job  # what an idle thread holds does not leave memory

    def _leave(self, place: _Place) -> None:
        self.free += 1
        place.threads -= 1
        if place.threads == 0:  # there may be many places in a process's life
            del self.places[place.name]
            if self.closing:
                self.wanted.notify_all()

    def _next(self) -> _Place | None:
        if not self.ready and not self.closing:
            self.wanted.wait(IDLE_SECONDS)
        self.free -= 1
        return self.ready.popleft() if self.ready else None
