"""The outcome of a run: :class:`Report`, :class:`Progress`, :class:`Damaged`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy_cmk.errors import KeyUnavailable, TamperedError
from sqlalchemy_cmk.runtime.printable import printable


@dataclass(frozen=True, slots=True)
class Damaged:
    """A value that could not be opened, and was left as it is.

    Attributes:
        key: the row's primary key, as text.
        column: the column.
        reason: what is wrong; never a value.
    """

    key: str
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        rows_read: rows that were looked at and are done.
        rows_changed: how many of them were changed.
        rows_expected: about how many rows there are; an estimate of the database on large tables.
        seconds: since the run was started, this time.
        rows_a_second: the pace since then.
    """

    rows_read: int
    rows_changed: int
    rows_expected: int
    seconds: float
    rows_a_second: float

    @property
    def seconds_left(self) -> float | None:
        """About how many seconds it will take; ``None`` if that is not known yet."""
        if not self.rows_a_second:
            return None
        return max(0, self.rows_expected - self.rows_read) / self.rows_a_second


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a run.

    Attributes:
        run_id: the run, as ``cmk rekey report`` names it; empty for what is not recorded.
        description: the job.
        rows_read: rows that were looked at.
        rows_changed: rows that were written.
        rows_left: rows that still need the work: damaged ones, those of tenants whose key is out of reach,
            and those that others wrote meanwhile.
        damaged: values that could not be opened, at most :data:`MAX_DAMAGED` of them.
        refused: by tenant, why its key could not be opened.
    """

    run_id: str
    description: str
    rows_read: int
    rows_changed: int
    rows_left: int
    damaged: tuple[Damaged, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do."""
        return not self.rows_left and not self.damaged and not self.refused

    def require_opened(self, damaged: str, again: str) -> None:
        """Refuse a run that left values behind which did not open.

        Args:
            damaged: what becomes of values that do not open, for the message.
            again: what to run again, for the message.

        Raises:
            TamperedError: values do not open; the others are done.
            KeyUnavailable: the KEKs of some tenants refuse or cannot be reached; the others are done.
        """
        if self.damaged:
            first = self.damaged[0]
            raise TamperedError(
                f"{self.description}: {len(self.damaged)} values do not open, and {damaged}; the first is "
                f"{printable(first.column)} of the row with key {printable(first.key)}: "
                f"{printable(first.reason)}"
            )
        if self.refused:
            tenant, why = next(iter(self.refused.items()))
            raise KeyUnavailable(
                f"{self.description}: rows of {len(self.refused)} tenants are left, the first {tenant!r}: "
                f"{why}; run {again} again when their KEKs serve"
            )


MAX_DAMAGED = 1000
