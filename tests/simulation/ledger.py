"""What was written: every version of every row that was ever committed, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

# Keys of visits are larger, those of patients smaller.
VISITS = 1_000_000


@dataclass(frozen=True)
class Row:
    """A row as it is stored, opened.

    Attributes:
        tenant: whose it is.
        values: by column, what was written there.
        deks: by column, the DEK under which it is sealed.
    """

    tenant: str
    values: dict[str, str | None]
    deks: dict[str, bytes] = field(compare=False)


@dataclass(frozen=True)
class Change:
    """What a writer is about to do to a row.

    Attributes:
        values: by column, what it writes; `None` where it deletes the row.
        tenant: whose the row is that it adds; `None` where it changes one.
    """

    values: dict[str, str | None] | None
    tenant: str | None = None

    def after(self, before: Row | None) -> Row | None:
        """The row after the change."""
        if self.values is None:
            return None
        if self.tenant is not None:
            return Row(self.tenant, self.values, {})
        return before and Row(before.tenant, before.values | self.values, {})


@dataclass
class Ledger:
    """The rows of the table by their keys.

    Attributes:
        commits: how many commits there were: the time of this ledger.
        now: the rows that are there.
    """

    commits: int = 0
    now: dict[int, Row] = field(default_factory=dict)
    _versions: dict[int, list[tuple[int, Row | None]]] = field(default_factory=dict)

    def commit(self, rows: dict[int, Row]) -> None:
        """Note that these are the rows that are there now."""
        self.commits += 1
        for key in self.now.keys() | rows.keys():
            before, after = self.now.get(key), rows.get(key)
            if before != after or (before and after and before.deks != after.deks):
                self._versions.setdefault(key, [(0, None)]).append((self.commits, after))
        self.now = dict(rows)

    def versions(self, key: int, since: int) -> list[Row | None]:
        """What the row has been from a moment on until now."""
        all_of_it = self._versions.get(key, [(0, None)])
        first = max(index for index, (commit, _) in enumerate(all_of_it) if commit <= since)
        return [row for _, row in all_of_it[first:]]

    def known(self) -> list[int]:
        """The keys of all patients that there ever were."""
        return sorted(key for key in self._versions if key < VISITS)

    def visits(self) -> list[int]:
        """The keys of all visits that there are."""
        return sorted(key for key in self.now if key >= VISITS)
