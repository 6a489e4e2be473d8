"""Follows many flows at once, whose calls are made side by side. See :class:`SideBySide`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from copy import copy
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy_cmk.keys.opening.flows import Call, Flow, Turn, done, failed
from sqlalchemy_cmk.keys.opening.lanes import Lanes
from sqlalchemy_cmk.runtime.clock import elapsed

if TYPE_CHECKING:
    from sqlalchemy_cmk.keys.opening.calls import ProviderCalls

K = TypeVar("K", bound=Hashable)

# Seconds without an answer that are a lull.
LULL = 0.5
# Flows that are under way at once: of one batch no more are in memory.
UNDER_WAY = 500


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
        self._landed = landed
        self._lull = lull
        self._lull_at = elapsed() + LULL if lull is not None else inf
        self._flows: dict[K, Flow[Any]] = {}
        # Flows that wait for a turn; those that have had one go first, so that few are half done.
        self._paused: deque[tuple[K, Turn]] = deque()
        self._turned: set[K] = set()
        # Flows that wait for the call of another one, which has the same answer.
        self._same: dict[Hashable, list[K]] = {}
        self._called: dict[K, Hashable] = {}
        self._lanes: Lanes[K] = Lanes(calls)

    def follow(self, flows: Iterable[tuple[K, Flow[Any]]]) -> None:
        """Follow flows to their ends; they are asked for as others end."""
        further = iter(flows)
        try:
            while self._begin(further) or self._flows:
                self._wait(self._lanes.start())
                for key, answer in self._lanes.answers():
                    self._put_off_lull()
                    self._answer(key, answer)
                self._go_on()
                for key, answer in self._lanes.given_up():
                    self._answer(key, answer)
        finally:
            self._lanes.close()
            self._flows.clear()

    def _begin(self, further: Iterator[tuple[K, Flow[Any]]]) -> bool:
        """Begin as many flows as may be under way; return whether there may be more."""
        while len(self._flows) < UNDER_WAY:
            begun = next(further, None)
            if begun is None:
                return False
            key, self._flows[begun[0]] = begun
            self._resume(key, done(None))
        return True

    def _resume(self, key: K, answer: Future[Any]) -> None:
        """Let a flow go on with what its call has given, up to its next call or its end."""
        flow = self._flows[key]
        error = answer.exception()
        try:
            step = flow.send(answer.result()) if error is None else flow.throw(error)
        except StopIteration as end:
            self._end(key, done(end.value))
        except Exception as failure:
            self._end(key, failed(failure))
        else:
            if isinstance(step, Turn):
                (self._paused.appendleft if key in self._turned else self._paused.append)((key, step))
            else:
                self._call(key, step)
        finally:
            del error, answer

    def _end(self, key: K, result: Future[Any]) -> None:
        del self._flows[key]
        self._turned.discard(key)
        self._landed(key, result)

    def _call(self, key: K, call: Call) -> None:
        if call.same is not None:
            if call.same in self._same:
                self._same[call.same].append(key)
                return
            self._same[call.same], self._called[key] = [], call.same
        self._lanes.add(key, call)

    def _answer(self, key: K, answer: Future[Any]) -> None:
        """Give a call's answer to its flow, and to others that have waited for it."""
        others = self._same.pop(self._called.pop(key), []) if key in self._called else []
        self._resume(key, answer)
        for other in others:
            error = answer.exception()
            self._resume(other, answer if error is None else failed(copy(error)))
            del error

    def _go_on(self) -> None:
        """Resume the flows whose turn has come."""
        while self._paused and not self._paused[0][1].pace.due_in:
            key, turn = self._paused.popleft()
            turn.pace.take()
            self._turned.add(key)
            self._resume(key, done(None))

    def _wait(self, starved: bool) -> None:
        moments = [self._paused[0][1].pace.due_in] if self._paused else []
        if self._lull_at < inf:
            moments.append(max(0.0, self._lull_at - elapsed()))
        if not self._lanes.wait(starved, min(moments, default=None)) and elapsed() >= self._lull_at:
            self._lull_at = inf
            if self._lull is not None:
                self._lull()

    def _put_off_lull(self) -> None:
        if self._lull is not None:
            self._lull_at = elapsed() + LULL
