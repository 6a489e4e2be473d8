"""A discrete simulation of keyrings that ask their KEKs, event by event.

It follows :class:`sqlalchemy_cmk.keys.opening.opener.Opener`: a test has both make the same calls.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random

from benchmarks.capacity.limits import WINDOW
from benchmarks.capacity.model import Case
from sqlalchemy_cmk.keys.opening.opener import CachePolicy

NEVER = float("-inf")


def next_proof(times: CachePolicy, proven_at: float, chance: float, ahead: float) -> float:
    """Return when a DEK that is in use all the time is proven anew.

    Args:
        times: the keyring's.
        proven_at: when it was proven.
        chance: a random number from 0 to 1, which the jitter uses.
        ahead: another one, for proofs ahead of the deadline.
    """
    deadline = times.deadline(proven_at, chance)
    return times.due(proven_at, deadline, ahead) if times.refresh_ahead else deadline


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who uses which DEK when, and what happens to the vaults.

    Attributes:
        starts: the moment of the first use, for each process and in it for each DEK.
        seconds: how long to look on.
        new: whether the DEKs are still to be made, by the process that comes first.
        throttled: whether vaults refuse what is beyond their limit.
        outage: the beginning and the end of a time in which no vault can be reached.
        use_every: seconds between two uses of a DEK in one process.
    """

    starts: Sequence[float]
    seconds: float
    new: bool = False
    throttled: bool = False
    outage: tuple[float, float] = (0, 0)
    use_every: int = 1


@dataclass(slots=True)
class Run:
    """What the vaults were asked.

    Attributes:
        answered: by second, calls that were answered.
        refused: by second, calls that were throttled.
        unreached: by second, calls that reached no vault.
        busiest: by vault and window, calls that reached the vault.
        errors: calls that failed for a DEK that was not open: somebody waits for it.
        last_opened: when the last DEK was opened that had not been open.
    """

    seconds: float
    answered: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    unreached: Counter[int] = field(default_factory=Counter)
    busiest: Counter[tuple[int, int]] = field(default_factory=Counter)
    errors: int = 0
    last_opened: float = 0

    def transactions(self) -> list[int]:
        """Return what reached the vaults, in each ten seconds."""
        return self.in_windows(self.answered + self.refused)

    def calls(self) -> list[int]:
        """Return what was tried, in each ten seconds."""
        return self.in_windows(self.answered + self.refused + self.unreached)

    def peak(self, begin: float = 0) -> int:
        """Return the most transactions in ten seconds, from a moment on."""
        return max(self.transactions()[int(begin // WINDOW) :])

    def mean(self, begin: float = 0) -> float:
        """Return the transactions in ten seconds on average, from a moment on."""
        windows = self.transactions()[int(begin // WINDOW) :]
        return sum(windows) / len(windows)

    def throttled_share(self) -> float:
        """Return the share of the transactions that was answered with 429."""
        return self.refused.total() / max(1, self.refused.total() + self.answered.total())

    def busiest_vault(self) -> int:
        """Return the most transactions of one vault in ten seconds."""
        return max(self.busiest.values())

    def in_windows(self, by_second: Counter[int]) -> list[int]:
        """Return counts by second as counts in each ten seconds."""
        windows = [0] * ceil(self.seconds / WINDOW)
        for second, count in by_second.items():
            windows[second // WINDOW] += count
        return windows


class Simulation:
    """Processes with keyrings, and vaults with limits.

    Args:
        case: the installation.
        traffic: what happens to it.
        chance: given the time, a number from 0 to 1 for the jitter; seeded if left out.
    """

    def __init__(
        self,
        case: Case,
        traffic: Traffic,
        chance: Callable[[float], float] | None = None,
    ) -> None:
        seeded = Random(1)
        self._case, self._traffic = case, traffic
        self._chance = chance or (lambda now: seeded.random())
        self._deks = case.all_deks
        self._proven: list[float | None] = [None] * (case.processes * self._deks)
        self._proofs: dict[tuple[int, int], float] = {}
        self._made = set() if traffic.new else set(range(self._deks))
        self._spent: Counter[tuple[int, int]] = Counter()
        self._limit = case.limit
        self._run = Run(traffic.seconds)

    def run(self) -> Run:
        """Let the time pass, and return what was asked."""
        due = [(self._next_use(start), number) for number, start in enumerate(self._traffic.starts)]
        heapq.heapify(due)
        while due and due[0][0] < self._traffic.seconds:
            now, number = due[0]
            again = self._next_use(self._use(now, number))
            heapq.heapreplace(due, (max(again, now + self._traffic.use_every), number))
        return self._run

    def _next_use(self, moment: float) -> float:
        every = self._traffic.use_every
        return ceil(moment / every) * every

    def _use(self, now: float, number: int) -> float:
        """Use a DEK that is due, and return when it is due again."""
        process, dek = divmod(number, self._deks)
        kek = 0 if self._case.layout == "shared" else dek // self._case.deks
        vault = kek if self._case.layout == "vaults" else 0
        proven = self._proven[number]
        proof = self._proofs.get((process, kek), NEVER)
        until = self._next_proof(now, proof)
        if proven is not None and proof > proven and now < until:
            self._proven[number] = proof
            return until
        if dek not in self._made:
            return self._make(now, number, vault)
        if not self._ask(now, vault):
            return self._without(now, number)
        self._proofs[process, kek] = now
        return self._keep(now, number)

    def _make(self, now: float, number: int, vault: int) -> float:
        # A wrap, and an unwrap that proves it; the keyring does not take it as a proof of the KEK.
        if not (self._ask(now, vault) and self._ask(now, vault)):
            return self._without(now, number)
        self._made.add(number % self._deks)
        return self._keep(now, number)

    def _keep(self, now: float, number: int) -> float:
        if self._proven[number] is None:
            self._run.last_opened = now
        self._proven[number] = now
        return self._next_proof(now, now)

    def _next_proof(self, now: float, proven_at: float) -> float:
        times = self._case.times
        return next_proof(
            times, proven_at, self._chance(now), self._chance(now) if times.refresh_ahead else 0.0
        )

    def _without(self, now: float, number: int) -> float:
        """Go on without an answer: with a key that is open, until the grace is over."""
        proven, times = self._proven[number], self._case.times
        if proven is not None and now < proven + times.outage_grace:
            return min(now + times.retry_after, proven + times.outage_grace)
        self._proven[number] = None
        self._run.errors += 1
        return now + self._traffic.use_every

    def _ask(self, now: float, vault: int) -> bool:
        """Make one call and return whether it was answered."""
        second = int(now)
        begin, end = self._traffic.outage
        if begin <= now < end:
            self._run.unreached[second] += 1
            return False
        self._run.busiest[vault, second // WINDOW] += 1
        if self._traffic.throttled and not self._spend(second, vault):
            self._run.refused[second] += 1
            return False
        self._run.answered[second] += 1
        return True

    def _spend(self, second: int, vault: int) -> bool:
        # What is throttled does not count towards the limit.
        window = second // self._limit.window
        together = self._limit.most * self._limit.together
        if self._spent[vault, window] >= self._limit.most or self._spent[-1, window] >= together:
            return False
        self._spent[vault, window] += 1
        self._spent[-1, window] += 1
        return True
