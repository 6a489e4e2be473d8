"""The figures of a soak, for people."""

import os
from collections import Counter
from collections.abc import Iterable
from statistics import median

from benchmarks.drill.observations import Seen
from benchmarks.soak.outcome import Outcome, sealed_on
from benchmarks.soak.verdict import UNITS, Bounds, growth, opened_a_minute, problems


def figures(outcome: Outcome, bounds: Bounds) -> str:
    """Return tables in Markdown, and what is out of bounds."""
    lines = ["| seconds | answered | refused | median | p99 | max |", "|---|---|---|---|---|---|"]
    for server in outcome.seen:
        notes = outcome.notes(server)
        reads = [one for one in notes if one.method == "GET"]
        lines.append(f"| {server}: page over all tenants | {_times(outcome.pages(server))} |")
        lines.append(f"| {server}: read of one value | {_times(reads)} |")
        lines.append(f"| {server}: write | {_times(one for one in notes if one.method == 'POST')} |")
    lines += ["", "| worker, undisturbed | seconds | memory, MiB | files | threads | sessions |"]
    lines += ["|---|---|---|---|---|---|", *_workers(outcome)]
    lines += ["", _summary(outcome), "", *_judged(problems(outcome, bounds))]
    return "\n".join(lines)


def _times(requests: Iterable[Seen]) -> str:
    seen = list(requests)
    ordered = sorted(one.ended - one.began for one in seen if one.served)
    counts = [f"{len(ordered):,}", f"{len(seen) - len(ordered):,}"]
    if not ordered:
        return " | ".join([*counts, "-", "-", "-"])
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return " | ".join([*counts, *(f"{one:.3f}" for one in (median(ordered), p99, ordered[-1]))])


def _workers(outcome: Outcome) -> Iterable[str]:
    for worker in sorted(outcome.alive, key=lambda one: (one.server, one.pid)):
        samples = [one for one in outcome.samples[worker] if one.at >= outcome.calm]
        if len(samples) < 3:
            continue
        cells = [f"{samples[-1].at - samples[0].at:.0f}"]
        for name, unit in UNITS.items():
            before, after = growth(samples, outcome.calm, name)
            cells.append(f"{before / unit:.4g} to {after / unit:.4g}")
        yield f"| {worker.server} | {' | '.join(cells)} |"


def _summary(outcome: Outcome) -> str:
    seen = [one for requests in outcome.seen.values() for one in requests]
    statuses = Counter(one.status for one in seen if not one.served)
    kinds = Counter(one.what for one in outcome.happened)
    done = Counter(one.what for one in outcome.disturbances)
    return (
        f"{len(seen):,} requests in {outcome.seconds:.0f} s. Refused, by status: "
        f"{', '.join(f'{status}: {count:,}' for status, count in sorted(statuses.items())) or 'none'}. "
        f"Values shown sealed: {sum(len(sealed_on(one)) for one in seen):,}. "
        f"Vaults: {', '.join(f'{count} {what}' for what, count in kinds.items())}. "
        f"Workers: {', '.join(f'{what} {count} times' for what, count in done.items())}. "
        f"{len(outcome.stored):,} rows at the end. "
        f"Database sessions opened a minute, undisturbed: {opened_a_minute(outcome):.1f}. "
        f"Load of the machine: {os.getloadavg()[2]:.1f} on {os.cpu_count()} processors."
    )


def _judged(found: list[str]) -> list[str]:
    if not found:
        return ["Nothing is out of bounds."]
    shown = 40
    more = [f"- and {len(found) - shown} more"] if len(found) > shown else []
    return ["Out of bounds:", *(f"- {one}" for one in found[:shown]), *more]
