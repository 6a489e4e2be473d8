"""What a verification found: problems of neighbouring rows become one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 50


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a row, as it is said of one row and of several."""

    of_one: str
    of_many: str


REMOVED = Flaw("was removed", "were removed")
CHANGED = Flaw("was changed", "were changed")
UNLINKED = Flaw(
    "does not follow the row before it: one of them was replaced",
    "do not follow the rows before them: they were replaced",
)
MISPLACED = Flaw("stands where no row belongs", "stand where no row belongs")
FORGED = Flaw("was not authenticated by the record key that it names", "were not authenticated by their key")
UNAUTHENTICATED = Flaw(
    "is not authenticated: it was written without the record key, or its MAC was removed",
    "are not authenticated: they were written without the record key, or their MACs were removed",
)
UNCOVERED = Flaw(
    "is authenticated by a record key that is not known here, and no later row vouches for it",
    "are authenticated by record keys that are not known here, and no later row vouches for them",
)
WENT_BACK = Flaw(
    "changed keys of its tenant that had been put back to an older state",
    "changed keys of their tenants that had been put back to an older state",
)
BROKEN = Flaw(
    "notes that the end of the trail was not the one that was written last",
    "note that the end of the trail was not the one that was written last",
)


@dataclass(slots=True)
class _Run:
    flaw: Flaw
    first: int
    last: int


@dataclass(slots=True)
class Problems:
    """Collects problems, of which the first :data:`MOST` are said and the others counted."""

    _found: list[_Run | str] = field(default_factory=list)
    _newest: dict[Flaw, _Run] = field(default_factory=dict)

    def row(self, seq: int, flaw: Flaw) -> None:
        """Note a row's flaw."""
        self.rows(seq, seq, flaw)

    def rows(self, first: int, last: int, flaw: Flaw) -> None:
        """Note a flaw of neighbouring rows."""
        run = self._newest.get(flaw)
        if run is not None and run.last + 1 == first:
            run.last = last
            return
        self._newest[flaw] = run = _Run(flaw, first, last)
        self._found.append(run)

    def say(self, problem: str) -> None:
        """Note a problem of no particular row."""
        self._found.append(problem)

    def forgive(self, *flaws: Flaw) -> None:
        """Forget these flaws of all rows so far."""
        self._found = [one for one in self._found if isinstance(one, str) or one.flaw not in flaws]
        for flaw in flaws:
            self._newest.pop(flaw, None)

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each problem."""
        said = [one if isinstance(one, str) else _sentence(one) for one in self._found[:MOST]]
        more = len(self._found) - len(said)
        return (*said, *([f"{more} more problems"] if more else []))


def _sentence(run: _Run) -> str:
    if run.first == run.last:
        return f"row {run.first} {run.flaw.of_one}"
    return f"rows {run.first} to {run.last} {run.flaw.of_many}"
