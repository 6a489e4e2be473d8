"""What came of a drill: what the design forbids and happened all the same, and how long things took."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from benchmarks.drill.app import REVOKED, text_of
from benchmarks.drill.observations import Seen
from benchmarks.drill.owners import Affected

Cell = tuple[str, int]


@dataclass(frozen=True)
class Stored:
    """A row after the drill, opened."""

    tenant: str
    number: int
    text: str


@dataclass
class Outcome:
    """Everything that was seen, and what was found afterwards.

    Attributes:
        revalidate_after: the bound, in seconds.
        seen: each request.
        revoked, unreachable, rotated: the tenants to whose KEKs something happened.
        stored: every row, opened by a process of its own.
        unsealed: how many rows show their text.
        states: each tenant's state.
        events: the audit trail: event and tenant.
        broken_links: what is wrong with the trail.
    """

    revalidate_after: float
    seen: list[Seen]
    revoked: list[Affected]
    unreachable: list[Affected]
    rotated: list[Affected]
    stored: list[Stored]
    unsealed: int
    states: dict[str, str]
    events: list[tuple[str, str]]
    broken_links: tuple[str, ...]

    @property
    def workers(self) -> set[int]:
        return {one.worker for one in self.seen if one.worker}

    def others(self) -> list[Seen]:
        """Requests for tenants whose owners gave access all the time."""
        revoked = {one.tenant for one in self.revoked}
        return [one for one in self.seen if one.tenant not in revoked]

    def bystanders(self) -> list[Seen]:
        """Requests for tenants whose vaults answered all the time."""
        away = {one.tenant for one in self.unreachable}
        return [one for one in self.others() if one.tenant not in away]

    def waited_for_proofs(self) -> list[float]:
        """Return how long the requests of bystanders took that waited for the proof of a key in use."""
        served: set[Cell] = set()
        found = []
        for seen in sorted(self.bystanders(), key=lambda one: one.began):
            if seen.overdue and seen.cell in served:
                found.append(seen.ended - seen.began)
            if seen.served:
                served.add(seen.cell)
        return found

    def failed_for_others(self) -> list[Seen]:
        """Requests that failed, but for those that no key was kept for because nobody had asked in time."""
        unused = self.unused_since()
        return [one for one in self.others() if not one.served and one.ended < unused.get(one.cell, inf)]

    def unused_since(self) -> dict[Cell, float]:
        """Return when a worker may have dropped the key of a tenant whose vault was out of reach.

        That is so where it was not asked for the tenant for `revalidate_after`, as on a machine that is busy
        with something else: such a key is opened anew, and rides out nothing.
        """
        last: dict[Cell, float] = {}
        since: dict[Cell, float] = {}
        for _, seen in sorted(self._each(self.unreachable), key=lambda pair: pair[1].ended):
            if seen.ended - last.get(seen.cell, seen.ended) >= self.revalidate_after:
                since.setdefault(seen.cell, last[seen.cell])
            if seen.served:
                last[seen.cell] = seen.began
        return since

    def wrong(self) -> list[Seen]:
        """Answers that are not what was written."""
        return [one for one in self.seen if not one.right]

    def failed_otherwise(self) -> list[Seen]:
        """Requests for revoked tenants that were neither served nor refused, or refused for no reason."""
        return [
            seen
            for one, seen in self._each(self.revoked)
            if not seen.served and (seen.status != REVOKED or seen.ended < one.beginning)
        ]

    def served_too_late(self) -> list[Seen]:
        """Requests for revoked tenants that began after the bound, and were served while access was away."""
        return [seen for one, seen in self._each(self.revoked) if seen.served and self._overdue(one, seen)]

    def never_shut(self) -> set[Cell]:
        """Revoked tenants with a worker that did not refuse them after the bound."""
        refused = self._first(
            self.revoked, lambda one, seen: seen.status == REVOKED and self._overdue(one, seen)
        )
        return self._cells(self.revoked) - set(refused)

    def never_ridden_on(self) -> set[Cell]:
        """Unreachable tenants with a worker that did not serve them after their proof was due."""
        served = self._first(
            self.unreachable,
            lambda one, seen: seen.served and self._overdue(one, seen) and seen.proven < one.began,
        )
        return self._cells(self.unreachable) - set(served) - set(self.unused_since())

    def never_back(self) -> set[Cell]:
        """Tenants with a worker that did not serve them on a proof made after everything was well again."""
        everybody = [*self.revoked, *self.unreachable, *self.rotated]
        back = self._first(everybody, lambda one, seen: seen.served and seen.proven >= one.proof_tells)
        return self._cells(everybody) - set(back)

    def shut(self) -> list[float]:
        """Seconds until a worker refused a revoked tenant for the first time, for each worker and tenant."""
        first = self._first(self.revoked, lambda one, seen: seen.status == REVOKED)
        return [seen.ended - one.began for one, seen in first.values()]

    def still_served(self) -> list[float]:
        """Seconds until the last request began that a worker served a revoked tenant, for each of them."""
        last: dict[Cell, float] = {}
        for one, seen in self._each(self.revoked):
            if seen.served and one.began < seen.began and seen.ended < one.ending:
                last[seen.cell] = max(seen.began - one.began, last.get(seen.cell, 0.0))
        return list(last.values())

    def back(self, tenants: list[Affected]) -> list[float]:
        """Seconds until a worker served a tenant on a new proof, for each worker and tenant."""
        first = self._first(tenants, lambda one, seen: seen.served and seen.proven >= one.proof_tells)
        return [max(0.0, seen.ended - one.ended) for one, seen in first.values()]

    def lost(self) -> list[str]:
        """Rows that were confirmed and are not there, that were refused and are, or whose text is another."""
        there = {(row.tenant, row.number): row.text for row in self.stored}
        written = [one for one in self.seen if one.method == "POST"]
        found = [f"{key} is {text!r}" for key, text in there.items() if text != text_of(*key)]
        for one in written:
            if one.served != ((one.tenant, one.number) in there):
                found.append(f"{one.tenant} {one.number}: status {one.status}")
        return found

    def _overdue(self, one: Affected, seen: Seen) -> bool:
        return one.began + self.revalidate_after <= seen.began and seen.ended < one.ending

    def _each(self, tenants: list[Affected]) -> list[tuple[Affected, Seen]]:
        named = {one.tenant: one for one in tenants}
        return [(named[seen.tenant], seen) for seen in self.seen if seen.tenant in named]

    def _first(
        self, tenants: list[Affected], fits: Callable[[Affected, Seen], bool]
    ) -> dict[Cell, tuple[Affected, Seen]]:
        found: dict[Cell, tuple[Affected, Seen]] = {}
        for one, seen in sorted(self._each(tenants), key=lambda pair: pair[1].ended):
            if fits(one, seen):
                found.setdefault(seen.cell, (one, seen))
        return found

    def _cells(self, tenants: list[Affected]) -> set[Cell]:
        return {(one.tenant, worker) for one in tenants for worker in self.workers}
