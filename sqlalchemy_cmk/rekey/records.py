"""The records of a run: the run, its ranges and their sums. See :class:`.runs.RunStore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RunState(StrEnum):
    """The life of a run."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job over its table.

    Attributes:
        id: its name.
        description: what it does.
        state: where it stands; ``running`` also where it was interrupted.
        generation: rises each time that a process takes it up: workers of an earlier one can commit no more.
        passes: how many times it has begun to go through the table.
        split_up_to: the key up to which the table is split into ranges, as text.
        fully_split: whether all of it is.
        rows_expected: about how many rows there are.
    """

    id: str
    table_name: str
    description: str
    state: RunState
    generation: int
    passes: int
    split_up_to: str | None
    fully_split: bool
    rows_expected: int
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive rows: those with keys above ``low``, up to ``high``; what is up to ``position`` is done."""

    seq: int
    high: str
    position: str | None
    step: int


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums over the ranges of a run."""

    rows_read: int
    rows_changed: int
    rows_refused: int
    rows_damaged: int

    @property
    def unchanged(self) -> int:
        """How many rows were left as they are, for a reason that was noted."""
        return self.rows_refused + self.rows_damaged


@dataclass(slots=True)
class Claim:
    """A worker's claim on a range: its next batch is committed only while the records still say the same."""

    run_id: str
    seq: int
    generation: int
    step: int
