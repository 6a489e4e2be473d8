"""What happens in a soak: to vaults in every round, to processes in the first half of the rounds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from time import monotonic

from benchmarks.drill.owners import CUT, REVOKED, THROTTLED, Affected, Change, affected
from benchmarks.drill.server import Server
from benchmarks.drill.vaults import Vaults
from benchmarks.soak.workers import ANSWER_SECONDS, kill_one, reload, workers_of

SLOW_SECONDS = 0.3
SLOW = {
    "slow": Change(
        lambda vaults, tenant: vaults.call(tenant, "faults.delay", seconds=SLOW_SECONDS),
        lambda vaults, tenant: vaults.call(tenant, "faults.clear"),
    )
}
UNREACHABLE = {**CUT, **THROTTLED}
# Of a round, how long things are as they are made, and when in that a process is killed.
FAULTS, KILL = 0.75, 0.25
PATIENCE = 120 + ANSWER_SECONDS


@dataclass(frozen=True)
class Disturbance:
    """Something that happened to a server's workers.

    Attributes:
        server: its name.
        what: ``killed`` or ``reloaded``.
        at: when, on the monotonic clock.
        over: when other workers had taken their places.
    """

    server: str
    what: str
    at: float
    over: float


@dataclass
class Chaos:
    """Takes vaults away and gives them back, round by round, each time other tenants'.

    Args:
        vaults: the vaults.
        servers: the servers.
        tenants: all tenants.
        each: how many are revoked, unreachable and slow, each, in a round.
        length: how long a round is, in seconds.

    Attributes:
        happened: what happened to vaults.
        disturbances: what happened to workers.
        calm: since when no worker has been disturbed, on the monotonic clock.
    """

    vaults: Vaults
    servers: list[Server]
    tenants: list[str]
    each: int
    length: float
    happened: list[Affected] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)

    @property
    def calm(self) -> float:
        return max((one.over for one in self.disturbances), default=0.0)

    def run(self, seconds: float) -> None:
        """Make as many whole rounds as fit, and one at least."""
        rounds = max(1, int(seconds / self.length))
        disturbed = (rounds + 1) // 2
        tenants = cycle(self.tenants)
        for number in range(rounds):
            self._round(self._next(tenants), kills=number < disturbed, reloads=number == disturbed - 1)

    def _next(self, tenants: Iterator[str]) -> list[Affected]:
        taken = [list(islice(tenants, self.each)) for _ in range(3)]
        kinds = (REVOKED, UNREACHABLE, SLOW)
        return [one for some, kind in zip(taken, kinds, strict=True) for one in affected(some, kind)]

    def _round(self, round_of: list[Affected], *, kills: bool, reloads: bool) -> None:
        began = monotonic()
        self.happened += round_of
        for one in round_of:
            one.begin(self.vaults)
        _sleep_until(began + self.length * FAULTS * KILL)
        for server in self.servers if kills else ():
            self._disturb(server, "killed", kill_one)
        for server in self.servers if reloads else ():
            self._disturb(server, "reloaded", reload)
        _sleep_until(began + self.length * FAULTS)
        for one in round_of:
            one.end(self.vaults)
        _sleep_until(began + self.length)

    def _disturb(self, server: Server, what: str, disturb: Callable[[Server], set[int]]) -> None:
        """Disturb a server's workers, and wait until others have taken the places of those that go."""
        at, number = monotonic(), len(workers_of(server))
        old = disturb(server)
        while old & set(workers := workers_of(server)) or len(workers) < number:
            assert monotonic() < at + PATIENCE, f"{server.name}: no new workers: {server.log()[-2000:]}"
            time.sleep(0.1)
        self.disturbances.append(Disturbance(server.name, what, at, monotonic()))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - monotonic()))
