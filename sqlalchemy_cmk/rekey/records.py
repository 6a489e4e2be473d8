"""What is recorded of a run: the run, its ranges, and what they add up to. See :class:`.runs.RunStore`."""

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
        state: how it stands; ``running`` also where it was interrupted.
        generation: rises each time that somebody takes it up: workers of an earlier one can commit no more.
        passes: how many times it has begun to go through the table.
        carved: the key up to which the table is cut into ranges, as text.
        carved_all: whether all of it is.
        rows_expected: about how many rows there are.
    """

    id: str
    table_name: str
    description: str
    state: RunState
    generation: int
    passes: int
    carved: str | None
    carved_all: bool
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
    """What the ranges of a run add up to."""

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
    """A worker's hold on a range: what it must still be for the worker's next batch to be committed."""

    run_id: str
    seq: int
    generation: int
    step: int
