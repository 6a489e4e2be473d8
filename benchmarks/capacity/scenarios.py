"""What may happen to an installation, as traffic for the simulation. Everything random is seeded."""

from __future__ import annotations

from random import Random

from benchmarks.capacity.model import Case
from benchmarks.capacity.simulation import Run, Simulation, Traffic

HOUR = 3600
LOOK = 2400
BEFORE, AFTER = 1200, 1800
SEED = 7


def deploy(case: Case, *, throttled: bool = False, apart: float = 0, seconds: float = LOOK) -> Run:
    """All processes start, and each opens every DEK at once.

    Args:
        case: the installation.
        throttled: whether vaults refuse what is beyond their limit.
        apart: seconds from the start of one process to that of the next.
        seconds: how long to look on.
    """
    starts = [process * apart for process in range(case.processes) for _ in range(case.all_deks)]
    return Simulation(case, Traffic(starts, seconds, throttled=throttled)).run()


def arrivals(case: Case, *, throttled: bool = False, over: float = HOUR, within: float = 60) -> Run:
    """New tenants come one after the other, and their DEKs are made; look on for ten minutes more.

    Args:
        case: the installation.
        throttled: whether vaults refuse what is beyond their limit.
        over: seconds over which they come.
        within: seconds after which every process has used a tenant that has come.
    """
    random = Random(SEED)
    comes = [random.uniform(0, over) for _ in range(case.all_deks)]
    starts = [moment + random.uniform(0, within) for _ in range(case.processes) for moment in comes]
    return Simulation(case, Traffic(starts, over + 600, new=True, throttled=throttled)).run()


def outage(case: Case, seconds: float, *, throttled: bool = False) -> Run:
    """Processes that have run for a while meet an outage; look on for half an hour more.

    Args:
        case: the installation.
        seconds: how long no vault can be reached.
        throttled: whether vaults refuse what is beyond their limit.
    """
    random = Random(SEED)
    period = case.times.revalidate_after
    begun = [random.uniform(0, period) for _ in range(case.processes)]
    starts = [one + random.uniform(0, period) for one in begun for _ in range(case.all_deks)]
    away = (BEFORE, BEFORE + seconds)
    return Simulation(case, Traffic(starts, away[1] + AFTER, outage=away, throttled=throttled)).run()
