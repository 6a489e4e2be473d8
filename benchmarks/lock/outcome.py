"""What came of a lock under load, and its figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.drill.app import REVOKED
from benchmarks.drill.observations import Seen


@dataclass(frozen=True)
class Outcome:
    """Everything that was seen, on the clock that all processes of a machine share.

    Attributes:
        tenant: the one that was locked.
        workers: the process ids of gunicorn's workers.
        seen: the requests.
        watched: when the clients and the re-key worker were under way.
        locking, locked: the moments around the lock.
        unlocking, unlocked: those around its end.
        last_change: when the re-key worker changed a row of the tenant for the last time before its end.
        report: the re-key worker's.
        looks: how often the row of locks was read in a second by each process that held keys.
    """

    tenant: str
    workers: frozenset[int]
    seen: list[Seen]
    watched: float
    locking: float
    locked: float
    unlocking: float
    unlocked: float
    last_change: float
    report: dict[str, Any]
    looks: float

    def shut(self) -> dict[int, float]:
        """Seconds from the lock to the last request that began and was served, by worker."""
        last = dict.fromkeys(self.workers, 0.0)
        for one in self._of_tenant():
            if one.served and one.began < self.unlocking:
                last[one.worker] = max(last[one.worker], one.began - self.locked)
        return last

    def never_shut(self) -> set[int]:
        """Workers that did not refuse the locked tenant."""
        refused = {
            one.worker
            for one in self._of_tenant()
            if one.status == REVOKED and "KeyLocked" in one.answer and one.ended < self.unlocking
        }
        return set(self.workers) - refused

    def back(self) -> dict[int, float]:
        """Seconds from the unlock to the first request that was served, by worker."""
        first: dict[int, float] = {}
        for one in sorted(self._of_tenant(), key=lambda one: one.ended):
            if one.served and one.began > self.unlocking:
                first.setdefault(one.worker, max(0.0, one.ended - self.unlocked))
        return first

    def others(self) -> list[Seen]:
        """The requests for other tenants."""
        return [one for one in self.seen if one.tenant != self.tenant]

    def before(self) -> list[float]:
        """How long the requests for other tenants took before the lock."""
        return [one.ended - one.began for one in self.others() if self.watched < one.began < self.locking]

    def meanwhile(self) -> list[float]:
        """How long they took from the lock to the unlock."""
        return [one.ended - one.began for one in self.others() if self.locking < one.began < self.unlocking]

    def failed(self) -> list[Seen]:
        """Requests for other tenants that failed, and wrong answers."""
        return [one for one in self.others() if not one.served] + [one for one in self.seen if not one.right]

    def figures(self) -> str:
        """Return a table in Markdown."""
        before, meanwhile = self.before(), self.meanwhile()
        rows = [
            ("from the lock to the last request that a worker serves", list(self.shut().values())),
            ("from the lock to the last row that the re-key worker changes", [self._stopped()]),
            ("from the unlock until a worker serves again", list(self.back().values())),
            ("answer to other tenants, before", before),
            ("answer to other tenants, meanwhile", meanwhile),
        ]
        lines = ["| seconds | median | p99 | max |", "|---|---|---|---|"]
        lines += [f"| {name} | {_of(values)} |" for name, values in rows]
        slow = [sum(one > 2 * median(before) for one in some) / len(some) for some in (before, meanwhile)]
        return "\n".join(
            [
                *lines,
                "",
                f"{len(self.seen):,} requests in {len(self.workers)} workers, {len(self.failed())} of those "
                f"for others failed. Slower than twice the median: {slow[0]:.1%} before, {slow[1]:.1%} "
                f"meanwhile. Reads of the row of locks: {self.looks:.2f} a second and process. "
                f"The re-key worker: {self.report['rows_changed']} rows changed, "
                f"{self.report['rows_left']} left.",
            ]
        )

    def _stopped(self) -> float:
        return max(0.0, self.last_change - self.locked)

    def _of_tenant(self) -> list[Seen]:
        return [one for one in self.seen if one.tenant == self.tenant and one.worker]


def _of(values: Iterable[float]) -> str:
    ordered = sorted(values)
    if not ordered:
        return " | ".join("-" * 3)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return " | ".join(f"{one:.3f}" for one in (median(ordered), p99, ordered[-1]))
