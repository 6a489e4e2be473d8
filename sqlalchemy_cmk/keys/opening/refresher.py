"""Has DEKs in use proven again before their deadline, so that no request waits. See :class:`Refresher`."""

from __future__ import annotations

import heapq
import logging
import threading
from collections import Counter
from collections.abc import Callable, Container
from functools import partial
from math import ceil
from random import SystemRandom
from typing import NamedTuple

from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.runtime.alarm import Alarm, longest_sleep
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")

# Places that are asked at once, and of these those that could not be reached when they were last asked.
PLACES_AT_ONCE, FAILING_AT_ONCE = 16, 4
# The part of `revalidate_after` between two batches of one place, and the part of its DEKs in each: all that
# are due at once take a thirtieth of it, which is less than what is left until the first deadline.
BATCHES, OF_ALL = 1 / 600, 1 / 20

_random = SystemRandom()


class Refresher:
    """Has DEKs proven again in the background that were used since their last proof.

    Each is due at a moment of its own between 80 % and 95 % of the time to its deadline, so that a vault is
    asked at an even pace. A DEK that nobody has used is left alone. One whose deadline has passed is left to
    those who need it: the deadline is checked at every use, whatever happens here.

    Args:
        policy: when DEKs are due.
        opened: the opened DEKs.
        place_of: given a KEK's URI, returns what its calls may hang on.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        policy: CachePolicy,
        opened: OpenedKeys,
        place_of: Callable[[str], str],
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._opened = opened
        self._place_of = place_of
        self._clock = clock
        self._prove: Callable[[list[bytes]], Container[bytes]] = lambda ids: ()
        self._lock = threading.Lock()
        self._looks: list[_Look] = []
        self._counts: Counter[str] = Counter()
        self._lanes: dict[str, _Lane] = {}
        self._under_way: list[_Lane] = []
        self._threads = Threads("cmk-refresh", PLACES_AT_ONCE)
        self._alarm = Alarm(self.ring, clock, longest_sleep(clock), "cmk-refresh")

    def prove_with(self, prove: Callable[[list[bytes]], Container[bytes]]) -> None:
        """Set what proves open DEKs of one place, given their ids.

        It returns those whose KEK could not be reached. Whatever else it finds it deals with itself, as where
        a KEK refuses, or leaves to those who need the DEK after its deadline.
        """
        self._prove = prove

    def proven(self, dek: OpenedDek) -> None:
        """Note that a DEK was proven, and when it is due."""
        if not self._policy.refresh_ahead:
            return
        # Before the lock is taken: the system's randomness may let another thread run.
        chance, place = _random.random(), self._place_of(dek.proven_by[0])
        with self._lock:
            if dek.deadline <= dek.proven_at:  # it may have been dropped meanwhile, with all others
                return
            due = self._policy.due(dek.proven_at, dek.deadline, chance)
            if len(self._looks) > 2 * self._opened.max_open:
                self._forget_the_dropped()
            self._add(_Look(due, dek.id, dek.proven_at, place))
            self._alarm.set(due)

    def ring(self) -> float | None:
        """Begin to prove what is due, and return when to look again; ``None`` if nothing will be due."""
        with self._lock:
            now = self._clock()
            while self._looks and self._looks[0].at <= now:
                self._look(self._pop(), now)
            for place, lane in list(self._lanes.items()):
                if not lane.under_way and lane.not_before <= now:
                    self._begin(place, lane)
            nexts = [one.not_before for one in self._lanes.values() if not one.under_way]
            nexts += [one.at for one in self._looks[:1]]
            return max(min(nexts), now + self._pause) if nexts else None

    def close(self) -> None:
        """Prove nothing any more."""
        with self._lock:
            self._clear()
        self._alarm.close()
        self._threads.close()

    def after_fork(self) -> None:
        """Draw again when DEKs are due, for a child that uses them: its parent has calls of its own."""
        self._lock = threading.Lock()
        looks = self._looks
        self._clear()
        for look in looks:
            dek = self._opened.peek(look.dek_id)
            if dek is not None and dek.proven_at == look.proven_at:
                self._add(look._replace(at=self._policy.due(dek.proven_at, dek.deadline, _random.random())))
        self._alarm.after_fork()

    @property
    def is_busy(self) -> bool:
        """Whether something is being proven."""
        return bool(self._under_way)

    @property
    def _pause(self) -> float:
        return self._policy.revalidate_after * BATCHES

    def _add(self, look: _Look) -> None:
        heapq.heappush(self._looks, look)
        self._counts[look.place] += 1

    def _pop(self) -> _Look:
        look = heapq.heappop(self._looks)
        self._counts[look.place] -= 1
        if not self._counts[look.place]:  # there may be many places in a process's life
            del self._counts[look.place]
        return look

    def _clear(self) -> None:
        self._looks, self._counts, self._lanes, self._under_way = [], Counter(), {}, []

    def _forget_the_dropped(self) -> None:
        looks = [one for one in self._looks if self._is_open(one)]
        heapq.heapify(looks)
        self._looks, self._counts = looks, Counter(one.place for one in looks)

    def _is_open(self, look: _Look) -> bool:
        dek = self._opened.peek(look.dek_id)
        return dek is not None and dek.proven_at == look.proven_at and self._clock() < dek.deadline

    def _look(self, look: _Look, now: float) -> None:
        """Decide what becomes of a DEK that is due: it is proven if it was used, or looked at once more."""
        dek = self._opened.peek(look.dek_id)
        if dek is None or not self._is_open(look):
            return
        if self._opened.is_used(look.dek_id):
            self._lanes.setdefault(look.place, _Lane(now)).waiting.append(look)
        elif not look.is_second:
            self._add(look._replace(at=self._policy.second_look(now, dek.deadline), is_second=True))

    def _begin(self, place: str, lane: _Lane) -> None:
        """Begin a batch of one place, if there is one and its turn has come."""
        lane.waiting = [one for one in lane.waiting if self._is_open(one)]
        if not lane.waiting:
            del self._lanes[place]
            return
        failing = sum(one.is_failing for one in self._under_way) if lane.is_failing else 0
        if len(self._under_way) >= PLACES_AT_ONCE or failing >= FAILING_AT_ONCE:
            return
        count = 1 if lane.is_failing else ceil((self._counts[place] + len(lane.waiting)) * OF_ALL)
        batch, lane.waiting = lane.waiting[:count], lane.waiting[count:]
        try:
            self._threads.submit("", partial(self._prove_batch, lane, batch))
        except RuntimeError:  # the process ends, or the system has no more threads
            del self._lanes[place]
        else:
            lane.under_way = True
            self._under_way.append(lane)

    def _prove_batch(self, lane: _Lane, batch: list[_Look]) -> None:
        failed: Container[bytes] = ()
        try:
            failed = self._prove([one.dek_id for one in batch])
        except Exception as error:
            logger.warning("keys cannot be proven again now: %s", type(error).__name__)
        with self._lock:
            again = [one for one in batch if one.dek_id in failed]
            lane.under_way, lane.is_failing = False, bool(again)
            lane.waiting = again + lane.waiting
            now = self._clock()
            lane.not_before = now + (self._policy.retry_after if again else self._pause)
            if lane in self._under_way:  # otherwise the keyring was closed meanwhile
                self._under_way.remove(lane)
                self._alarm.set(now)


class _Look(NamedTuple):
    """When to look at a DEK.

    Attributes:
        at: when.
        dek_id: the DEK.
        proven_at: its last proof; a later one has a look of its own.
        place: what the calls of its KEK may hang on.
        is_second: whether nobody had used it when it was due.
    """

    at: float
    dek_id: bytes
    proven_at: float
    place: str
    is_second: bool = False


class _Lane:
    """What is due at one place.

    Attributes:
        waiting: what is to be proven.
        not_before: when the next batch may begin.
        under_way: whether one is.
        is_failing: whether the place could not be reached by the last one.
    """

    __slots__ = ("is_failing", "not_before", "under_way", "waiting")

    def __init__(self, now: float) -> None:
        self.waiting: list[_Look] = []
        self.not_before = now
        self.under_way = False
        self.is_failing = False
