"""Follows many flows at once, with a lane for each place that they call. See :class:`SideBySide`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.opening.flows import Call, Flow, done, failed
from sqlalchemy_cmk.runtime.blocking import wait_for
from sqlalchemy_cmk.runtime.clock import elapsed

if TYPE_CHECKING:
    from sqlalchemy_cmk.keys.opening.calls import ProviderCalls

K = TypeVar("K", bound=Hashable)

# Seconds for which a thread makes one call after the other before others of its place have their turn.
TURN = 0.05
# Seconds after which a batch looks again for a slot that another batch has given back.
LOOK_EVERY = 0.05
# Seconds without an answer that are a lull.
LULL = 0.5


class SideBySide(Generic[K]):
    """Follows the flows of one batch. They run in the caller's thread; their calls on the places' threads.

    Args:
        calls: says how many calls there may be, and on which threads.
        landed: is given each flow's name and result.
        lull: called when no call has been answered for a moment.
    """

    def __init__(
        self,
        calls: ProviderCalls,
        landed: Callable[[K, Future[Any]], None],
        lull: Callable[[], None] | None,
    ) -> None:
        self._calls = calls
        self._landed = landed
        self._lull = lull
        self._flows: dict[K, Flow[Any]] = {}
        self._lanes: dict[str, _Lane[K]] = {}
        self._lock = threading.Lock()
        self._answers: list[tuple[K, Future[Any]]] = []
        self._news: Future[None] = Future()

    def follow(self, flows: Mapping[K, Flow[Any]]) -> None:
        """Follow flows to their ends."""
        self._flows = dict(flows)
        try:
            for key in flows:
                self._resume(key, done(None))
            while self._flows:
                starved = self._start()
                self._wait(starved)
                for key, answer in self._take():
                    self._resume(key, answer)
                self._give_up()
        finally:
            # The caller was interrupted: nobody needs the calls that have not begun.
            with self._lock:
                for lane in self._lanes.values():
                    lane.waiting.clear()
            self._flows.clear()

    def _resume(self, key: K, answer: Future[Any]) -> None:
        """Let a flow go on with what its call has given, up to its next call or its end."""
        flow = self._flows[key]
        error = answer.exception()
        try:
            call = flow.send(answer.result()) if error is None else flow.throw(error)
        except StopIteration as end:
            del self._flows[key]
            self._landed(key, done(end.value))
        except Exception as failure:
            del self._flows[key]
            self._landed(key, failed(failure))
        else:
            with self._lock:
                lane = self._lanes.get(call.place) or self._lanes.setdefault(call.place, _Lane(call.place))
                lane.at_once = call.at_once
                lane.waiting.append((key, call))
        finally:
            del error, answer

    def _start(self) -> bool:
        """Have threads make the calls that wait; return whether some found no slot."""
        for lane in list(self._lanes.values()):
            while lane.wants_thread:
                slot = self._calls.slots.take()
                if slot is None:
                    return True
                with self._lock:
                    lane.threads += 1
                    if lane.threads == 1:
                        lane.asked = elapsed()
                self._begin(lane, slot)
        return False

    def _begin(self, lane: _Lane[K], slot: int) -> None:
        serve = partial(self._serve, lane, slot)
        try:
            self._calls.submit(lane.place, serve)
        except RuntimeError:
            try:
                self._calls.without_thread(serve)
            except KeyUnavailable:
                self._leave(lane, slot)
                raise

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

    def _spare(self, lane: _Lane[K], kek_uri: str, answer: Future[Any]) -> None:
        """Ask a KEK nothing more that could not be reached: each call might end in a time-out of its own."""
        error = answer.exception()
        if isinstance(error, KeyUnavailable):
            self._answers += [(key, failed(copy(error))) for key in lane.take_waiting(kek_uri)]

    def _leave(self, lane: _Lane[K], slot: int) -> None:
        self._calls.slots.give_back(slot)
        with self._lock:
            lane.threads -= 1
            self._tell()

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def _wait(self, starved: bool) -> None:
        """Wait until an answer has come or a thread has ended its turn, or until it is time to look."""
        if self._lull is not None and not wait_for(self._news, LULL):
            self._lull()
        waiting = any(lane.waiting for lane in self._lanes.values())
        wait_for(self._news, LOOK_EVERY if starved else self._patience_left() if waiting else None)

    def _take(self) -> list[tuple[K, Future[Any]]]:
        with self._lock:
            answers, self._answers = self._answers, []
            self._news = Future()
        return answers

    def _patience_left(self) -> float:
        return min(
            self._calls.patience_left(one.place, one.asked) for one in self._lanes.values() if one.waiting
        )

    def _give_up(self) -> None:
        """Fail the calls that wait for a place which does not answer."""
        for lane in list(self._lanes.values()):
            if lane.waiting and lane.threads and not self._calls.patience_left(lane.place, lane.asked):
                with self._lock:
                    given_up = list(lane.waiting)
                    lane.waiting.clear()
                for key, _ in given_up:
                    self._resume(key, failed(self._calls.not_answering(lane.place)))


class _Lane(Generic[K]):
    """The calls of one place that wait, and how many threads make them.

    Attributes:
        threads: how many threads there are for it.
        made: how many calls these make now.
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
