"""What a soak has to hold to."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.drill.app import text_of
from benchmarks.soak.outcome import Outcome, Refusals
from benchmarks.soak.workers import Sample

# What is watched of a worker, in which units.
UNITS = {"memory": 1 << 20, "files": 1, "threads": 1, "sessions": 1}


@dataclass(frozen=True)
class Bounds:
    """What is allowed.

    Attributes:
        page: the median of a page over all tenants, in seconds.
        memory: what a worker may grow by, in MiB, from the second third of its undisturbed life to the last.
        files, threads, sessions: the same, in numbers.
        judged_from: how long an undisturbed life has to be for that, in seconds.
        sessions_a_minute: how many database sessions may be opened while nobody is disturbed.
        patience: seconds in which a tenant is served again once its access has returned, and in which clients
            may lose connections to workers that go.
        outage_patience: the same once its vault answers again; the longest pause is half a minute.
    """

    page: float = 2.0
    memory: float = 8.0
    files: int = 4
    threads: int = 4
    sessions: int = 2
    judged_from: float = 120.0
    sessions_a_minute: float = 30.0
    patience: float = 15.0
    outage_patience: float = 60.0


def problems(outcome: Outcome, bounds: Bounds) -> list[str]:
    """Return what is out of bounds, a line for each."""
    return [
        *_answers(outcome, bounds),
        *_lost(outcome),
        *_pages(outcome, bounds),
        *_growth(outcome, bounds),
        *_opened(outcome, bounds),
    ]


def growth(samples: list[Sample], calm: float, name: str) -> tuple[float, float]:
    """Return the least that a worker had in the second third of its undisturbed life, and in the last.

    What comes and goes, such as threads that call vaults, does not raise the least; what stays does.
    """
    values = [getattr(one, name) for one in samples if one.at >= calm]
    third = len(values) // 3
    return min(values[third : 2 * third]), min(values[2 * third :])


def opened_a_minute(outcome: Outcome) -> float:
    """Return how many database sessions were opened a minute while nobody was disturbed."""
    calm = [one for one in outcome.sessions if one[0] >= outcome.calm]
    if len(calm) < 2:
        return 0.0
    return 60 * (calm[-1][1] - calm[0][1]) / (calm[-1][0] - calm[0][0])


def _answers(outcome: Outcome, bounds: Bounds) -> Iterator[str]:
    refusals = Refusals(outcome, bounds.patience, bounds.outage_patience)
    for server, requests in outcome.seen.items():
        for seen in requests:
            if seen.served and not seen.right:
                yield f"{server}: a wrong value: {seen}"
        for why, seen in refusals.problems(server):
            yield f"{server}: {why}: {seen}"


def _lost(outcome: Outcome) -> Iterator[str]:
    there = {(row.tenant, row.number): row.text for row in outcome.stored}
    for key, text in there.items():
        if text != text_of(*key):
            yield f"{key} is stored as {text!r}"
    for seen in (one for server in outcome.seen for one in outcome.notes(server) if one.method == "POST"):
        stored = (seen.tenant, seen.number) in there
        # Without an answer nobody knows.
        if seen.status and stored != seen.served:
            yield f"{'lost' if seen.served else 'written though refused'}: {seen}"


def _pages(outcome: Outcome, bounds: Bounds) -> Iterator[str]:
    for server in outcome.seen:
        lasted = [one.ended - one.began for one in outcome.pages(server) if one.served]
        if not lasted:
            yield f"{server}: no page was served"
        elif median(lasted) > bounds.page:
            yield f"{server}: a page takes {median(lasted):.2f} s at the median"


def _growth(outcome: Outcome, bounds: Bounds) -> Iterator[str]:
    for worker in outcome.alive:
        samples = outcome.samples[worker]
        if samples[-1].at - max(samples[0].at, outcome.calm) < bounds.judged_from:
            continue
        for name, unit in UNITS.items():
            before, after = growth(samples, outcome.calm, name)
            if after - before > getattr(bounds, name) * unit:
                yield f"{worker.server}, worker {worker.pid}: {name} grew from {before:,.0f} to {after:,.0f}"


def _opened(outcome: Outcome, bounds: Bounds) -> Iterator[str]:
    if (opened := opened_a_minute(outcome)) > bounds.sessions_a_minute:
        yield f"{opened:.0f} database sessions were opened a minute"
