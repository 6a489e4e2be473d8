"""How many calls of KEKs batches make at once, whatever batches there are. See :class:`Slots`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.forks import watch_forks

# Seconds after which a call is taken to hang. It must not keep the calls of other vaults waiting.
HANGS = 2.0
# Seconds for which a free slot is kept for who has waited longest, and may be busy with something else.
KEPT = 0.1


@dataclass(slots=True)
class _Slot:
    """A slot that is taken.

    Attributes:
        place: what is called.
        since: when its call began.
    """

    place: str
    since: float


@dataclass(slots=True)
class _Waiting:
    """Somebody who has found no slot for a place.

    Attributes:
        wake: tells that there may be one.
        told: when there was one, since it last asked; ``None`` while there was none.
    """

    wake: Callable[[], None]
    told: float | None = None


class Slots:
    """So many calls at once, in all and of each place. One that hangs does not count.

    Who finds none is next when one is given back: a long batch does not keep a short one waiting.

    Args:
        count: how many in all.
        of_place: how many of one place.
    """

    def __init__(self, count: int, of_place: int) -> None:
        self._count = count
        self._of_place = of_place
        self._lock = threading.Lock()
        self._taken: dict[int, _Slot] = {}
        self._waiting: dict[tuple[int, str], _Waiting] = {}
        self._last = 0
        watch_forks(self)

    def take(self, place: str, wake: Callable[[], None], batch: object) -> int | None:
        """Return a slot, to be given back; ``None`` if all are taken, or others have waited longer.

        Args:
            place: what is to be called.
            wake: called, from any thread, when it is worth asking again.
            batch: who asks. It has to :meth:`leave` in the end.
        """
        with self._lock:
            now, ticket = elapsed(), (id(batch), place)
            if self._has_room(place, now) and not self._is_kept(ticket, now):
                self._waiting.pop(ticket, None)
                self._last += 1
                self._taken[self._last] = _Slot(place, now)
                return self._last
            self._waiting.setdefault(ticket, _Waiting(wake)).told = None
            return None

    @property
    def is_full(self) -> bool:
        """Whether so many calls are made in all that no place has a slot."""
        with self._lock:
            return self._busy(elapsed()) >= self._count

    def use_again(self, slot: int) -> None:
        """Begin another call in a slot that is taken."""
        with self._lock:
            taken = self._taken.get(slot)
            if taken is not None:
                taken.since = elapsed()

    def give_back(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken.pop(slot, None)
            now = elapsed()
            first = next(
                (one for (_, place), one in self._waiting.items() if self._has_room(place, now)), None
            )
            if first is not None:
                first.told = first.told or now
                first.wake()

    def leave(self, batch: object) -> None:
        """Let a batch wait no more."""
        with self._lock:
            for ticket in [one for one in self._waiting if one[0] == id(batch)]:
                del self._waiting[ticket]

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._lock = threading.Lock()
        self._taken, self._waiting = {}, {}

    def _busy(self, now: float, place: str | None = None) -> int:
        return sum(now - one.since < HANGS and place in (None, one.place) for one in self._taken.values())

    def _has_room(self, place: str, now: float) -> bool:
        return self._busy(now) < self._count and self._busy(now, place) < self._of_place

    def _is_kept(self, ticket: tuple[int, str], now: float) -> bool:
        """Return whether a free slot is somebody else's, who has waited longer and is about to take it."""
        for other, waiting in self._waiting.items():
            if other == ticket:
                return False
            if other[0] != ticket[0] and self._has_room(other[1], now):
                waiting.told = waiting.told or now
                if now - waiting.told < KEPT:
                    waiting.wake()
                    return True
        return False
