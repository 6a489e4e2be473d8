"""The calls of one batch, in a lane for each place that they call. See :class:`Lanes`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.opening.flows import Call, failed
from sqlalchemy_cmk.runtime.blocking import wait_for
from sqlalchemy_cmk.runtime.clock import elapsed

if TYPE_CHECKING:
    from sqlalchemy_cmk.keys.opening.calls import ProviderCalls

K = TypeVar("K", bound=Hashable)

# Seconds for which a thread makes one call after the other before others of its place have their turn.
TURN = 0.05
# Seconds after which a batch that has found no slot looks again: one that hangs is given back by nobody.
LOOK_EVERY = 0.05


class Lanes(Generic[K]):
    """Has the threads of places make calls, and collects the answers.

    Args:
        calls: says how many calls there may be, and on which threads.
    """

    def __init__(self, calls: ProviderCalls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane[K]] = {}
        # Those with calls that no thread is about to make, and those that have threads.
        self._wanting: dict[str, _Lane[K]] = {}
        self._served: dict[str, _Lane[K]] = {}
        self._answers: list[tuple[K, Future[Any]]] = []
        self._news: Future[None] = Future()
        self._closed = False

    def add(self, key: K, call: Call) -> None:
        """Have a call made; its answer comes under the key."""
        with self._lock:
            lane = self._lanes.get(call.place) or self._lanes.setdefault(call.place, _Lane(call.place))
            lane.at_once = max(1, min(call.at_once, self._calls.of_place))
            lane.waiting.append((key, call))
            self._wanting[call.place] = lane

    def start(self) -> bool:
        """Have threads make the calls that wait; return whether some found no slot.

        Raises:
            KeyUnavailable: no thread can be started, and an event loop would be held up.
        """
        return self._start(self._serve_now)

    def wait(self, starved: bool, longest: float | None) -> bool:
        """Wait until an answer has come, or it is time to look; return whether there is any news.

        Args:
            starved: whether calls have found no slot.
            longest: for how many seconds; ``None`` for any time.
        """
        moments = [] if longest is None else [longest]
        moments += [LOOK_EVERY] if starved else []
        moments += [self._patience_left(one) for one in self._silent()]
        return wait_for(self._news, min(moments, default=None))

    def answers(self) -> list[tuple[K, Future[Any]]]:
        """Return the answers since the last call."""
        with self._lock:
            answers, self._answers = self._answers, []
            self._news = Future()
        return answers

    def given_up(self) -> Iterator[tuple[K, Future[Any]]]:
        """Let calls wait no more for places that do not answer, and return how they fail."""
        for lane in self._silent():
            if not self._patience_left(lane):
                with self._lock:
                    given_up = list(lane.waiting)
                    lane.waiting.clear()
                    self._wanting.pop(lane.place, None)
                yield from ((key, failed(self._calls.not_answering(lane.place))) for key, _ in given_up)

    def close(self) -> None:
        """Make no call any more that has not begun: nobody waits for it."""
        with self._lock:
            self._closed = True
            for lane in self._lanes.values():
                lane.waiting.clear()
            self._wanting.clear()
        self._calls.slots.leave(self)

    def _silent(self) -> list[_Lane[K]]:
        """Return the lanes in which calls wait while all threads make others."""
        with self._lock:
            return [one for one in self._served.values() if one.waiting]

    def _patience_left(self, lane: _Lane[K]) -> float:
        return self._calls.patience_left(lane.place, lane.asked)

    def _start(self, begin: Callable[[_Lane[K], int], bool]) -> bool:
        """Begin to serve lanes as far as there are slots, until ``begin`` cannot; return as :meth:`start`."""
        with self._lock:
            wanting = list(self._wanting.values())
        slots, starved = self._calls.slots, False
        for lane in wanting:
            while lane.wants_thread:
                slot = slots.take(lane.place, self._wake, self)
                if slot is None:
                    starved = True
                    break
                if not self._claim(lane):  # another thread was first
                    slots.give_back(slot)
                    break
                if not begin(lane, slot):
                    return True
            else:
                self._forget_if_served(lane)
            if starved and slots.is_full:
                break
        if self._closed:
            slots.leave(self)
        return starved

    def _claim(self, lane: _Lane[K]) -> bool:
        with self._lock:
            if not lane.wants_thread:
                return False
            lane.threads += 1
            if lane.threads == 1:
                lane.asked = elapsed()
                self._served[lane.place] = lane
            return True

    def _forget_if_served(self, lane: _Lane[K]) -> None:
        with self._lock:
            # A place may have a new lane by now: this one had ended.
            if not lane.wants_thread and self._wanting.get(lane.place) is lane:
                del self._wanting[lane.place]

    def _serve_on_thread(self, lane: _Lane[K], slot: int) -> None:
        self._calls.submit(lane.place, partial(self._serve, lane, slot))

    def _serve_now(self, lane: _Lane[K], slot: int) -> bool:
        try:
            self._serve_on_thread(lane, slot)
        except RuntimeError:
            try:
                self._calls.without_thread(partial(self._serve, lane, slot))
            except KeyUnavailable:
                self._leave(lane, slot)
                raise
        return True

    def _serve_later(self, lane: _Lane[K], slot: int) -> bool:
        try:
            self._serve_on_thread(lane, slot)
        except RuntimeError:  # no thread can be started: the caller makes the calls
            self._leave(lane, slot)
            return False
        return True

    def _serve(self, lane: _Lane[K], slot: int) -> None:
        """Make calls of a lane, one after the other, for a turn."""
        began = elapsed()
        while True:
            with self._lock:
                if not lane.waiting or elapsed() - began > TURN:
                    break
                key, call = lane.waiting.popleft()
                lane.made += 1
            self._calls.slots.use_again(slot)
            answer: Future[Any] = Future()
            try:
                answer.set_result(self._calls.noted(call.place, call.make))
            except BaseException as error:
                answer.set_exception(error)
            with self._lock:
                lane.made -= 1
                self._answers.append((key, answer))
                self._spare(lane, call.kek_uri, answer)
                self._tell()
            del answer, call
        self._leave(lane, slot)
        # Not by the caller, who may be busy with what was answered.
        self._start(self._serve_later)

    def _spare(self, lane: _Lane[K], kek_uri: str, answer: Future[Any]) -> None:
        """Ask a KEK nothing more that could not be reached: each call might end in a time-out of its own."""
        error = answer.exception()
        if isinstance(error, KeyUnavailable):
            self._answers += [(key, failed(copy(error))) for key in lane.take_waiting(kek_uri)]
        del error

    def _leave(self, lane: _Lane[K], slot: int) -> None:
        self._calls.slots.give_back(slot)
        with self._lock:
            lane.threads -= 1
            if lane.waiting:
                self._wanting[lane.place] = lane
            if not lane.threads:
                self._served.pop(lane.place, None)
                if not lane.waiting:  # a long batch may call many places
                    self._lanes.pop(lane.place, None)
                    self._wanting.pop(lane.place, None)
            self._tell()

    def _wake(self) -> None:
        with self._lock:
            self._tell()

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)


class _Lane(Generic[K]):
    """The calls of one place that wait, and how many threads make them.

    Attributes:
        threads: how many threads there are for it.
        made: how many calls these make now.
        at_once: how many calls make sense at once.
        asked: when the first of its threads was asked for.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.waiting: deque[tuple[K, Call]] = deque()
        self.threads = self.made = 0
        self.at_once = 1
        self.asked = elapsed()

    def take_waiting(self, kek_uri: str) -> list[K]:
        """Let calls of a KEK wait no more, and return whose they are."""
        taken = [key for key, call in self.waiting if call.kek_uri == kek_uri]
        self.waiting = deque(one for one in self.waiting if one[1].kek_uri != kek_uri)
        return taken

    @property
    def wants_thread(self) -> bool:
        """Whether a call waits that none of its threads is about to make."""
        return self.threads < min(self.at_once, self.made + len(self.waiting))
