"""What came of a soak, and when a refusal was right."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.drill.observations import Seen
from benchmarks.drill.outcome import Stored
from benchmarks.drill.owners import REVOKED as REVOCATIONS
from benchmarks.drill.owners import Affected
from benchmarks.soak.chaos import UNREACHABLE, Disturbance
from benchmarks.soak.clients import PAGE
from benchmarks.soak.notes import REVOKED, UNAVAILABLE
from benchmarks.soak.watch import Worker
from benchmarks.soak.workers import Sample


@dataclass
class Outcome:
    """Everything that was seen, and what was found afterwards.

    Attributes:
        seconds: how long the clients went on.
        revalidate_after: the bound of a revocation, in seconds.
        seen: each server's requests.
        happened: what happened to vaults.
        disturbances: what happened to workers.
        calm: since when no worker was disturbed, on the monotonic clock.
        samples: what was seen of each worker.
        alive: the workers that were there at the end.
        sessions: moments, and how many sessions the database had ever had.
        stored: every row, opened by another process.
    """

    seconds: float
    revalidate_after: float
    seen: dict[str, list[Seen]]
    happened: list[Affected]
    disturbances: list[Disturbance]
    calm: float
    samples: dict[Worker, list[Sample]]
    alive: set[Worker]
    sessions: list[tuple[float, int]]
    stored: list[Stored]

    def pages(self, server: str) -> list[Seen]:
        return [one for one in self.seen[server] if one.tenant == PAGE]

    def notes(self, server: str) -> list[Seen]:
        return [one for one in self.seen[server] if one.tenant != PAGE]


# What a client sees of a request that a kill or a reload has cut off: nothing, or uvicorn's answer for one
# that it has cancelled.
CUT_OFF = (0, 500)


class Refusals:
    """Says which refusals were due, which were allowed, and which were neither.

    Args:
        outcome: the soak.
        patience: seconds after which a tenant is served again, once access has returned.
        outage_patience: the same, once its vault answers again.
    """

    def __init__(self, outcome: Outcome, patience: float, outage_patience: float) -> None:
        self._outcome = outcome
        self._patience = patience
        self._outage_patience = outage_patience
        self._revoked = [one for one in outcome.happened if one.what in REVOCATIONS]
        self._unreachable = [one for one in outcome.happened if one.what in UNREACHABLE]

    def problems(self, server: str) -> Iterator[tuple[str, Seen]]:
        """Return the requests that should have been answered otherwise, and why."""
        for seen in self._outcome.seen[server]:
            if seen.served:
                open_ones = self._revoked_now(seen) - sealed_on(seen)
                if seen.tenant != PAGE:
                    open_ones &= {seen.tenant}
                if open_ones:
                    yield "served after revalidate_after", seen
                if sealed_on(seen) - self._revoked_lately(seen):
                    yield "sealed though its KEK serves", seen
            elif not self._allowed(server, seen):
                yield f"status {seen.status}", seen

    def _allowed(self, server: str, seen: Seen) -> bool:
        if seen.status in CUT_OFF:
            return any(
                one.server == server and one.at <= seen.ended and seen.began <= one.over + self._patience
                for one in self._outcome.disturbances
            )
        if seen.status == REVOKED:
            return seen.tenant in self._revoked_lately(seen)
        if seen.status != UNAVAILABLE:
            return False
        away = _around(self._unreachable, seen, self._outage_patience)
        return bool(away) if seen.tenant == PAGE else seen.tenant in away

    def _revoked_now(self, seen: Seen) -> set[str]:
        """The tenants that no request like this one may be served for."""
        bound = self._outcome.revalidate_after
        return {
            one.tenant for one in self._revoked if one.began + bound <= seen.began and seen.ended < one.ending
        }

    def _revoked_lately(self, seen: Seen) -> set[str]:
        return _around(self._revoked, seen, self._patience)


def sealed_on(seen: Seen) -> set[str]:
    """The tenants whose values a page shows sealed."""
    return set(seen.answer.split(",")) - {""} if seen.tenant == PAGE and seen.served else set()


def _around(happened: Iterable[Affected], seen: Seen, patience: float) -> set[str]:
    return {
        one.tenant for one in happened if one.beginning <= seen.ended and seen.began <= one.ended + patience
    }
