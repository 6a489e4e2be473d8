"""A batch: consecutive rows of a table, column by column, ready to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.report import Damaged

Column = Sequence[Any]


@dataclass(slots=True)
class Batch:
    """Consecutive rows of a table, ready to be written.

    Attributes:
        last: the key of the last row.
        rows: how many rows were read.
        changes: the rows to write, column by column: the keys; the values of :attr:`Layout.guards`, by which
            a row is known to be still as it was read; for each move the new values of the target.
        damaged: values that could not be opened.
        refused: by tenant, why its key could not be opened; its rows are left as they are.
        rows_refused: how many rows those are.
        bytes: about how many bytes were read.
    """

    last: Key
    rows: int
    changes: list[Column]
    damaged: list[Damaged] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    rows_refused: int = 0
    bytes: int = 0

    @property
    def count(self) -> int:
        """How many rows are to be written."""
        return len(self.changes[0])

    def halves(self, keys: int) -> tuple[Batch, Batch]:
        """Return the batch in two, to be written one after the other, for a key of ``keys`` columns."""
        middle = self.count // 2
        first, second = ([one[part] for one in self.changes] for part in (slice(middle), slice(middle, None)))
        last = tuple(one[-1] for one in first[:keys])
        begun = Batch(last, middle, first, self.damaged, self.refused, self.rows_refused)
        return begun, Batch(self.last, self.rows - middle, second)

    def without_changes(self) -> Batch:
        """Return the batch with nothing to write."""
        return Batch(
            self.last, self.rows, [[] for _ in self.changes], self.damaged, self.refused, self.rows_refused
        )
