"""A fleet, request by request: some of its processes stand for all, since no process knows of another."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from benchmarks.capacity.fleet import Fleet
from benchmarks.capacity.limits import WINDOW

SEED = 11
BATCH = 1000


@dataclass(slots=True)
class Requests:
    """Requests, and how long those waited that waited for a KEK."""

    count: int = 0
    waits: list[float] = field(default_factory=list)

    def add(self, waits: float) -> None:
        """Count a request that waited so many seconds."""
        self.count += 1
        if waits:
            self.waits.append(waits)

    def waiting(self) -> float:
        """Return the share of them that waited."""
        return len(self.waits) / self.count

    def added(self, quantile: float) -> float:
        """Return the seconds that proofs add to a request, at a quantile of all of them."""
        rank = int(quantile * self.count) - (self.count - len(self.waits))
        return sorted(self.waits)[min(rank, len(self.waits) - 1)] if rank >= 0 else 0.0


@dataclass(slots=True)
class FleetRun:
    """What some processes of a fleet did after they had run for a while.

    Attributes:
        seconds: for how long they were looked at.
        share: the part of the fleet that they are.
        waited_for: by tenant, calls that requests waited for.
        ahead: by tenant, calls in the background.
        requests: of all tenants.
        in_use: of tenants that the process had used less than ``revalidate_after`` ago.
        open_deks: in a process, at each minute.
        by_second: from the start on, calls that requests waited for, and those in the background.
    """

    seconds: float
    share: float
    waited_for: Counter[int] = field(default_factory=Counter)
    ahead: Counter[int] = field(default_factory=Counter)
    requests: Requests = field(default_factory=Requests)
    in_use: Requests = field(default_factory=Requests)
    open_deks: list[int] = field(default_factory=list)
    by_second: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))

    def calls(self) -> float:
        """Return calls a second of the whole fleet to all vaults."""
        return (self.waited_for.total() + self.ahead.total()) / self.seconds / self.share

    def in_windows(self, *, ahead: bool) -> list[float]:
        """Return the calls of the whole fleet in each ten seconds from its start."""
        windows = [0.0] * (max(self.by_second[False]) // WINDOW + 1)
        for second, calls in self.by_second[ahead].items():
            windows[second // WINDOW] += calls / self.share
        return windows


def simulate(fleet: Fleet, *, seconds: float = 1200, settle: float = 600, sample: int = 2) -> FleetRun:
    """Let some processes run, each with the tenants that it serves.

    Args:
        fleet: the installation.
        seconds: how long to look on, after they have settled.
        settle: seconds until then.
        sample: how many processes.
    """
    run = FleetRun(seconds, sample / fleet.processes)
    for number in range(sample):
        _Process(fleet, Random(SEED + number), settle, run).run(settle + seconds)
    return run


@dataclass(slots=True)
class _Open:
    """An open DEK: when it was proven, is due and has to be proven; when it was used, and since the proof."""

    proven_at: float
    deadline: float
    answered: float
    used_at: float
    used: bool = False
    looks: int = 0


class _Process:
    def __init__(self, fleet: Fleet, random: Random, settle: float, run: FleetRun) -> None:
        self._fleet, self._times, self._random = fleet, fleet.times, random
        self._settle, self._run = settle, run
        mine = fleet.tenants * fleet.serving // fleet.processes
        self._tenants = random.sample(range(fleet.tenants), mine)
        self._rates = list(accumulate(fleet.uses[tenant] for tenant in self._tenants))
        self._open: dict[int, _Open] = {}
        self._due: list[tuple[float, int, float]] = []

    def run(self, until: float) -> None:
        minute = self._settle
        for now, tenant in self._requests(until):
            while self._due and self._due[0][0] <= now:
                self._look(*heapq.heappop(self._due))
            while minute <= now:
                self._forget(minute)
                self._run.open_deks.append(len(self._open))
                minute += 60
            self._use(now, tenant)

    def _requests(self, until: float) -> Iterator[tuple[float, int]]:
        now, rate = 0.0, self._rates[-1]
        while True:
            for tenant in self._random.choices(self._tenants, cum_weights=self._rates, k=BATCH):
                now += self._random.expovariate(rate)
                if now >= until:
                    return
                yield now, tenant

    def _use(self, now: float, tenant: int) -> None:
        one = self._open.get(tenant)
        in_use = one is not None and now - one.used_at < self._times.revalidate_after
        if one is None or now >= one.deadline:
            waits = self._fleet.call
            self._ask(now, tenant, ahead=False)
            self._open[tenant] = one = self._proven(now, tenant)
        else:
            waits = max(0.0, one.answered - now)
            one.used = True
        one.used_at = now
        if now >= self._settle:
            self._run.requests.add(waits)
            if in_use:
                self._run.in_use.add(waits)

    def _look(self, now: float, tenant: int, proven_at: float) -> None:
        """Look at a DEK that is due: prove it if it was used, or look once more."""
        one = self._open.get(tenant)
        if one is None or one.proven_at != proven_at:
            return
        if one.used:
            self._ask(now, tenant, ahead=True)
            used_at = one.used_at
            self._open[tenant] = one = self._proven(now, tenant)
            one.used_at, one.answered = used_at, now
        elif one.looks == 0:
            one.looks = 1
            heapq.heappush(self._due, (self._times.second_look(now, one.deadline), tenant, proven_at))

    def _proven(self, now: float, tenant: int) -> _Open:
        deadline = self._times.deadline(now, self._random.random())
        if self._times.refresh_ahead:
            due = self._times.due(now, deadline, self._random.random())
            heapq.heappush(self._due, (due, tenant, now))
        return _Open(now, deadline, now + self._fleet.call, now)

    def _ask(self, now: float, tenant: int, *, ahead: bool) -> None:
        self._run.by_second[ahead][int(now)] += 1
        if now >= self._settle:
            (self._run.ahead if ahead else self._run.waited_for)[tenant] += 1

    def _forget(self, now: float) -> None:
        """Drop what has passed its deadline and was not used for ``revalidate_after``."""
        unused = now - self._times.revalidate_after
        kept = [pair for pair in self._open.items() if now < pair[1].deadline or pair[1].used_at > unused]
        self._open = dict(kept)
