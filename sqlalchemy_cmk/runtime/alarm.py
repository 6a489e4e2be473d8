"""An alarm: calls a method of an object at a moment of a given clock, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from math import inf
from queue import Empty, SimpleQueue
from weakref import WeakMethod

from sqlalchemy_cmk.runtime.clock import elapsed

# Seconds between two looks. A machine that wakes up notices within this time what has come due meanwhile.
LOOK_EVERY = 30.0
# A clock that is not this machine's cannot be slept for.
LOOK_AT_OTHER_CLOCKS = 0.5


def longest_sleep(clock: Callable[[], float]) -> float:
    """Return for how many seconds of real time an alarm may sleep that waits by a clock."""
    return LOOK_EVERY if clock is elapsed else LOOK_AT_OTHER_CLOCKS


class Alarm:
    """Calls a method at a moment or earlier, and again when that says so.

    The thread is started when there is something to wait for, and ends when there is not. It does not keep
    the method's object alive, and ends with it.

    Args:
        ring: a bound method; returns when it wants to be called next, by the clock, or ``None``.
        clock: returns monotonic seconds.
        longest: how many seconds of real time pass until it is called at the latest: threads sleep by a clock
            that stands still while the machine sleeps, and the given one may go faster.
        name: the name of the thread.
    """

    def __init__(
        self,
        ring: Callable[[], float | None],
        clock: Callable[[], float],
        longest: float,
        name: str = "cmk-alarm",
    ) -> None:
        self._state = _State(clock, longest)
        self._name = name
        self._ring = WeakMethod(ring, self._state.leave)

    def set(self, at: float) -> None:
        """Call the method at this moment at the latest."""
        state = self._state
        if at >= state.at:  # without the lock: this is asked often, and what is lost is asked again
            return
        with state.lock:
            state.at = min(at, state.at)
            if state.running:
                state.woken.put(None)
            else:
                self._start()

    def close(self, wait: float = 0) -> None:
        """End the thread; :meth:`set` starts another.

        Args:
            wait: for how many seconds at most a call that is under way is waited for.
        """
        state = self._state
        with state.lock:
            state.at = inf
            state.closed += 1
            if state.running:
                state.woken.put(None)
        if wait and threading.get_ident() != state.thread:
            state.resting.wait(wait)

    def after_fork(self) -> None:
        """Start a thread in the child: the parent's does not run there."""
        state = self._state
        state.lock = threading.Lock()
        state.woken = SimpleQueue()
        state.resting = _set_event()
        state.running = False
        if state.at < inf:
            self._start()

    def _start(self) -> None:
        # In a context of its own: what was said where it happens to start would hold for its whole life.
        arguments = (_wait_and_ring, self._state, self._ring)
        thread = threading.Thread(target=Context().run, args=arguments, name=self._name, daemon=True)
        self._state.running = True
        try:
            thread.start()
        except RuntimeError:  # the process ends, or the system has no more threads: the next set tries again
            self._state.running = False
            self._state.at = inf


class _State:
    """What the thread and its owner share.

    Attributes:
        lock: held while ``at`` and ``running`` change.
        woken: wakes the thread. Unlike a condition it can be used by the garbage collector, whatever locks
            the thread that it interrupts holds.
        at: when to call, by the clock.
        running: whether there is a thread.
        thread: its ident; 0 before there was one.
        resting: set while no call is under way.
        gone: whether the owner is gone.
        closed: how often it was closed: a call that was under way then sets nothing.
    """

    def __init__(self, clock: Callable[[], float], longest: float) -> None:
        self.lock = threading.Lock()
        self.woken: SimpleQueue[None] = SimpleQueue()
        self.clock = clock
        self.longest = longest
        self.at = inf
        self.running = False
        self.thread = 0
        self.resting = _set_event()
        self.gone = False
        self.closed = 0

    def leave(self, _: object) -> None:
        """Have the thread end: the owner is gone."""
        self.gone = True
        self.woken.put(None)

    def wait(self) -> bool:
        """Wait until the method is to be called; ``False`` if the thread has to end."""
        overslept = False
        while True:
            with self.lock:
                if self.gone or self.at == inf:
                    self.running = False
                    return False
                left = self.at - self.clock()
                if left <= 0 or overslept:
                    self.at = inf
                    self.resting.clear()
                    return True
            overslept = not self._woken_within(min(left, self.longest))

    def _woken_within(self, seconds: float) -> bool:
        try:
            self.woken.get(timeout=seconds)
        except Empty:
            return False
        return True


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def _wait_and_ring(state: _State, ring: WeakMethod[Callable[[], float | None]]) -> None:
    state.thread = threading.get_ident()
    while state.wait():
        closed, method = state.closed, ring()
        try:
            again = method() if method is not None else None
        finally:
            state.resting.set()
        del method
        if again is not None:
            with state.lock:
                state.at = min(again, state.at) if state.closed == closed else state.at
