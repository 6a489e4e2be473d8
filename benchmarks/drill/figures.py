"""The figures of a drill, for people."""

from collections.abc import Iterable
from statistics import median

from benchmarks.drill.outcome import Outcome

# From here on a wait is one, in seconds.
NOTICED = 0.05


def figures(outcome: Outcome) -> str:
    """Return a table in Markdown."""
    happened = min(one.beginning for one in outcome.revoked)
    over = max(one.ended for one in outcome.revoked)
    before = [one.ended - one.began for one in outcome.bystanders() if one.ended < happened]
    during = [one.ended - one.began for one in outcome.bystanders() if happened < one.began < over]
    rows = [
        ("until a worker refuses a revoked tenant", outcome.shut()),
        ("until the last request began that it still served", outcome.still_served()),
        ("until it serves the tenant again, after access returned", outcome.back(outcome.revoked)),
        ("until it proves a key again, after an outage is over", outcome.back(outcome.unreachable)),
        ("answer to tenants whose vaults answer, before", before),
        ("answer to tenants whose vaults answer, meanwhile", during),
    ]
    waited = outcome.waited_for_proofs()
    rows.append(("the same, where a key in use had to be proven first", waited))
    lines = ["| seconds | median | p99 | max |", "|---|---|---|---|"]
    lines += [f"| {name} | {_of(values)} |" for name, values in rows]
    lines += [
        "",
        f"{len(outcome.seen):,} requests in {len(outcome.workers)} workers. "
        f"Of {len(outcome.others()):,} for tenants who were not revoked "
        f"{len(outcome.failed_for_others())} failed. "
        f"Revoked tenants served after the bound: {len(outcome.served_too_late())} requests. "
        f"Requests for tenants whose vaults answer that waited for the proof of a key in use: {len(waited)}, "
        f"{sum(one > NOTICED for one in waited)} of them took over {NOTICED * 1000:.0f} ms. "
        f"{len(outcome.stored):,} rows, lost or changed: {len(outcome.lost())}.",
    ]
    return "\n".join(lines)


def _of(values: Iterable[float]) -> str:
    ordered = sorted(values)
    if not ordered:
        return " | ".join("-" * 3)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return " | ".join(f"{one:.2f}" for one in (median(ordered), p99, ordered[-1]))
