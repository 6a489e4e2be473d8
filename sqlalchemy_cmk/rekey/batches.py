"""Batches of rows: read, opened and sealed, with no lock held and nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.errors import (
    CmkError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TenantRequired,
)
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.layout import Key, Layout
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.values import UNCHANGED, MoveValues
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_name

OUT_OF_REACH = (KeyRevoked, KeyUnavailable, CredentialError)


@dataclass(frozen=True, slots=True)
class Change:
    """What is written to one row, if it is still as it was read.

    Attributes:
        key: the row's primary key.
        old: for each move, what tells that the source is unchanged.
        new: for each move, the new value of the target.
    """

    key: Key
    old: tuple[Any, ...]
    new: tuple[Any, ...]


@dataclass(slots=True)
class Batch:
    """Consecutive rows of a table, ready to be written.

    Attributes:
        last: the key of the last row.
        rows: how many rows were read.
        changes: what is to be written.
        damaged: values that could not be opened.
        refused: by tenant, why its key could not be had; its rows are left as they are.
        rows_refused: how many rows those were.
    """

    last: Key
    rows: int
    changes: list[Change] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    rows_refused: int = 0

    def halves(self) -> tuple[Batch, Batch]:
        """Return the batch in two, to be written one after the other."""
        middle = len(self.changes) // 2
        first = Batch(
            self.changes[middle - 1].key,
            middle,
            self.changes[:middle],
            self.damaged,
            rows_refused=self.rows_refused,
        )
        return first, Batch(self.last, self.rows - middle, self.changes[middle:])


class Batches:
    """Reads rows in the order of their keys and converts their values.

    Args:
        keyring: opens the DEKs.
        job: what is to be done.
        layout: the job's table.
        only_check: open every value, and keep nothing to write.
    """

    def __init__(self, keyring: Keyring, job: Job, layout: Layout, *, only_check: bool = False) -> None:
        self._job = job
        self._layout = layout
        self._values = [MoveValues(keyring, move, only_check=only_check) for move in job.moves]
        self._split = _splitter(layout)
        self._tenants: dict[Any, str] = {}

    def read(
        self, connection: Connection, after: Key | None, up_to: Key | None, size: int
    ) -> Iterator[Batch]:
        """Return the batches from one key (exclusive) to another (inclusive).

        Args:
            connection: commits each statement by itself; it is read from between the batches only.
            after: the key before the first row, or ``None``.
            up_to: the key of the last row, or ``None``.
            size: rows in a batch.
        """
        while True:
            rows = connection.execute(self._layout.rows(after, up_to, size)).all()
            if not rows:
                return
            batch = self._converted(rows)
            yield batch
            if len(rows) < size:
                return
            after = batch.last

    def _converted(self, rows: Any) -> Batch:
        length = len(self._layout.key)
        batch = Batch(tuple(rows[-1][:length]), len(rows))
        self._tenants.clear()
        for one in self._values:
            one.begin()
        for row in rows:
            key, owner, values, old = self._split(row)
            try:
                tenant = self._tenant(owner)
            except TenantRequired as error:
                batch.damaged.append(
                    Damaged(self._layout.pack(key), str(self._job.tenant_column), str(error))
                )
                continue
            self._convert_row(batch, tenant, key, values, old)
        return batch

    def _convert_row(self, batch: Batch, tenant: str, key: Key, values: Any, old: Any) -> None:
        if tenant in batch.refused:
            batch.rows_refused += 1
            return
        new: list[Any] = []
        changed = False
        for number, value in enumerate(values):
            result = UNCHANGED
            if value is not None:
                try:
                    result = self._values[number].convert(tenant, value)
                except OUT_OF_REACH as error:
                    batch.refused[tenant] = str(error)
                    batch.rows_refused += 1
                    return
                except CmkError as error:
                    column = self._job.moves[number].source
                    batch.damaged.append(Damaged(self._layout.pack(key), column, str(error)))
            changed = changed or result is not UNCHANGED
            new.append(result)
        if changed:
            batch.changes.append(Change(key, old, self._filled(new, old)))

    def _filled(self, new: list[Any], old: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put what stays in place of what was not converted."""
        if UNCHANGED not in new:
            return tuple(new)
        kept = old if self._job.in_place else (None,) * len(old)
        return tuple(kept[i] if value is UNCHANGED else value for i, value in enumerate(new))

    def _tenant(self, owner: Any) -> str:
        if not self._layout.has_tenant:
            return PLATFORM_TENANT
        known = self._tenants.get(owner)
        if known is None:
            known = self._tenants[owner] = tenant_name(owner)
        return known


Split = Callable[[Any], tuple[Key, Any, tuple[Any, ...], tuple[Any, ...]]]


def _splitter(layout: Layout) -> Split:
    """Return what takes a row apart: key, tenant, the values to open, and what tells they are unchanged."""
    keys, exact = len(layout.key), [layout.exact(move) for move in layout.job.moves]
    first = keys + layout.has_tenant
    if all(exact):

        def same(row: Any) -> tuple[Key, Any, tuple[Any, ...], tuple[Any, ...]]:
            values = tuple(bytes(v) if type(v) is memoryview else v for v in row[first:])
            return row[:keys], row[keys], values, values

        return same
    places, place = [], first
    for one in exact:
        places.append((place, place if one else place + 1))
        place += 1 if one else 2

    def apart(row: Any) -> tuple[Key, Any, tuple[Any, ...], tuple[Any, ...]]:
        values = tuple(row[value] for value, _ in places)
        return row[:keys], row[keys], values, tuple(row[stamp] for _, stamp in places)

    return apart
