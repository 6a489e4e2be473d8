"""Batches of rows: read, opened and sealed, with no lock held and nothing written.

Rows are turned into columns once, and worked on column by column: at a million rows each object made for a
row is felt, and the database takes columns as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TenantRequired,
)
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.orm.tenants import name_in
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.layout import Key, Layout
from sqlalchemy_cmk.rekey.reading import Reader
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.values import UNCHANGED, MoveValues
from sqlalchemy_cmk.scope import PLATFORM_TENANT
from sqlalchemy_cmk.sealing import nonces

OUT_OF_REACH = (KeyRevoked, KeyUnavailable, CredentialError, ConfigurationError)
# A batch of large values is cut short, for the worker's memory and the server's longest packet.
MOST_BYTES = 4_000_000
FIRST_ROWS = 100

Column = Sequence[Any]


@dataclass(slots=True)
class Batch:
    """Consecutive rows of a table, ready to be written.

    Attributes:
        last: the key of the last row.
        rows: how many rows were read.
        changes: what is to be written, by column: the keys; what :attr:`Layout.guards` gave, by which the row
            is known to be still as it was read; for each move the new value of the target.
        damaged: values that could not be opened.
        refused: by tenant, why its key could not be had; its rows are left as they are.
        rows_refused: how many rows those were.
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
        """Return the batch in two, to be written one after the other; a key has so many columns."""
        middle = self.count // 2
        first, second = ([one[part] for one in self.changes] for part in (slice(middle), slice(middle, None)))
        last = tuple(one[-1] for one in first[:keys])
        begun = Batch(last, middle, first, self.damaged, self.refused, self.rows_refused)
        return begun, Batch(self.last, self.rows - middle, second)

    def emptied(self) -> Batch:
        """Return the batch with nothing to write."""
        return Batch(
            self.last, self.rows, [[] for _ in self.changes], self.damaged, self.refused, self.rows_refused
        )


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
        self._moves = [MoveValues(keyring, move, only_check=only_check) for move in job.moves]
        self._places = _places(layout)
        self._reader = Reader(layout)

    def read(
        self, connection: Connection, after: Key | None, up_to: Key | None, size: int
    ) -> Generator[Batch, None, None]:
        """Return the batches from one key (exclusive) to another (inclusive).

        Args:
            connection: is used between two batches only, and left without a transaction.
            after: the key before the first row, or ``None``.
            up_to: the key of the last row, or ``None``.
            size: rows in a batch, at most.
        """
        limit = min(size, FIRST_ROWS)
        while True:
            batch, limit = self._batch(connection, after, up_to, limit)
            if batch is None:
                return
            yield batch
            if batch.rows < limit:
                return
            after = batch.last
            limit = max(1, min(size, limit * 10, limit * MOST_BYTES // max(1, batch.bytes)))

    def _batch(
        self, connection: Connection, after: Key | None, up_to: Key | None, limit: int
    ) -> tuple[Batch | None, int]:
        """Return the next rows, if there are any, and how many were asked for."""
        try:
            rows = self._reader.rows(connection, after, up_to, limit)
        except (DBAPIError, CmkError):
            raise
        except Exception as error:
            # A stored value that its own type cannot read, such as a date 'unknown' on SQLite.
            kind = type(error).__name__
        else:
            if not rows:
                return None, limit
            return _Conversion(self._job, self._layout, self._moves, self._places, rows).batch(), limit
        if limit > 1:
            return self._batch(connection, after, up_to, 1)
        return self._unreadable(connection, after, up_to, kind), 1

    def _unreadable(self, connection: Connection, after: Key | None, up_to: Key | None, kind: str) -> Batch:
        key = connection.execute(self._layout.keys(after, up_to)).one()
        connection.rollback()
        columns = ", ".join(move.source for move in self._job.moves)
        damaged = Damaged(self._layout.pack(key), columns, f"it cannot be read as its type says ({kind})")
        width = len(key) + len(self._layout.guards) + len(self._moves)
        return Batch(tuple(key), 1, [[] for _ in range(width)], [damaged])


Place = tuple[int, int]


def _places(layout: Layout) -> list[Place]:
    """Return where each move's value stands in a row, and where what tells that it is unchanged."""
    places, place = [], len(layout.key) + layout.has_tenant
    for move in layout.job.moves:
        exact = layout.exact(move)
        places.append((place, place if exact else place + 1))
        place += 1 if exact else 2
    return places


def _bytes(column: Column) -> int:
    try:
        return sum(map(len, filter(None, column)))
    except TypeError:  # numbers
        return 0


class _Conversion:
    """The conversion of one batch of rows."""

    def __init__(
        self, job: Job, layout: Layout, moves: list[MoveValues], places: list[Place], rows: Sequence[Any]
    ) -> None:
        self._job = job
        self._moves = moves
        self._places = places
        self._pack = layout.pack
        self._tenant_type = layout.tenant_type
        self._columns: list[Column] = [tuple(map(itemgetter(i), rows)) for i in range(len(rows[0]))]
        keys = len(layout.key)
        self._keys = self._columns[:keys]
        self._owners = self._columns[keys] if layout.has_tenant else None
        self._tenants: dict[Any, str] = {}
        self._refused_rows: set[int] = set()
        self._owner_stamp = self._columns[-1:] if layout.guards_tenant else []
        self._batch = Batch(tuple(rows[-1][:keys]), len(rows), [])

    def batch(self) -> Batch:
        batch = self._batch
        new = [self._converted(number) for number in range(len(self._moves))]
        chosen = self._chosen(new)
        old = [self._columns[stamp] for _, stamp in self._places]
        self._fill(old, new)
        guards = [*old, *self._owner_stamp]
        batch.bytes = sum(map(_bytes, old))
        columns = [*self._keys, *guards, *new]
        batch.changes = columns if chosen is None else [[one[i] for i in chosen] for one in columns]
        batch.rows_refused = len(self._refused_rows)
        return batch

    def _chosen(self, new: list[list[Any]]) -> list[int] | None:
        """Return the rows that are to be written, ``None`` for all of them."""
        if not any(UNCHANGED in one for one in new):
            return None
        rows = range(self._batch.rows)
        return [
            i for i in rows if i not in self._refused_rows and any(one[i] is not UNCHANGED for one in new)
        ]

    def _fill(self, old: list[Column], new: list[list[Any]]) -> None:
        """Put what stays in place of what was not converted."""
        for before, after in zip(old, new, strict=True):
            if UNCHANGED in after:
                kept = before if self._job.in_place else repeat(None)
                after[:] = [b if a is UNCHANGED else a for a, b in zip(after, kept, strict=False)]

    def _converted(self, number: int) -> list[Any]:
        move, values = self._moves[number], self._columns[self._places[number][0]]
        owners = [None] * len(values) if self._owners is None else self._owners
        move.begin()
        return self._alike(move, owners, values) or self._one_by_one(number, move, owners, values)

    def _alike(self, move: MoveValues, owners: Column, values: Column) -> list[Any] | None:
        """Convert values that are all under one DEK; ``None`` where they are not, or one does not convert."""
        if owners[0] != owners[-1] or values[0] is None:
            return None
        try:
            if len(set(zip(owners, map(move.name_of, values), strict=True))) > 1:
                return None
            convert = move.converter(self._tenant(owners[0]), values[0])
            return list(map(convert, values, nonces(len(values))))
        except Exception:  # is told apart one by one
            return None

    def _one_by_one(self, number: int, move: MoveValues, owners: Column, values: Column) -> list[Any]:
        known, name_of, converted = move.known, move.name_of, list[Any]()
        add = converted.append
        for i, (owner, value, nonce) in enumerate(zip(owners, values, nonces(len(values)), strict=True)):
            # Whatever is unusual is done slowly, and told apart there.
            try:
                add(known[owner, name_of(value)](value, nonce))
            except Exception:
                add(self._slowly(i, number, owner, value, nonce))
        return converted

    def _slowly(self, i: int, number: int, owner: Any, value: Any, nonce: bytes) -> Any:
        if value is None and self._columns[self._places[number][1]][i] is None:
            return UNCHANGED
        try:
            tenant = self._tenant(owner)
            if tenant in self._batch.refused:
                self._refused_rows.add(i)
                return UNCHANGED
            return self._moves[number].convert(owner, tenant, value, nonce)
        except OUT_OF_REACH as error:
            self._batch.refused[tenant] = str(error)
            self._refused_rows.add(i)
        except CmkError as error:
            is_owner = isinstance(error, TenantRequired)
            column = str(self._job.tenant_column) if is_owner else self._job.moves[number].source
            key = self._pack([one[i] for one in self._keys])
            self._batch.damaged.append(Damaged(key, column, str(error)))
        return UNCHANGED

    def _tenant(self, owner: Any) -> str:
        if self._owners is None:
            return PLATFORM_TENANT
        if owner not in self._tenants:
            self._tenants[owner] = name_in(self._tenant_type, owner)
        return self._tenants[owner]
