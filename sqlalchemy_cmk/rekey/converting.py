"""Converts the rows of a batch: turned into columns once, and worked on column by column.

At a million rows each object made for a row costs time, and the database takes columns as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from sqlalchemy_cmk.ciphers import nonces
from sqlalchemy_cmk.columns.tenants import name_in
from sqlalchemy_cmk.errors import (
    ConfigurationError,
    CredentialError,
    InvalidValue,
    KeyRevoked,
    KeyUnavailable,
    TenantRequired,
)
from sqlalchemy_cmk.rekey.batch import Batch, Column
from sqlalchemy_cmk.rekey.converters import UNCHANGED, BoundTo, each_of
from sqlalchemy_cmk.rekey.groups import DAMAGE, UNUSUAL, groups_of
from sqlalchemy_cmk.rekey.job import Job, TenantColumn
from sqlalchemy_cmk.rekey.joint_tokens import JointTokens
from sqlalchemy_cmk.rekey.keys_ahead import KeysAhead, Named
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.read_back import REASON, ReadBack
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.values import MoveValues
from sqlalchemy_cmk.scope import PLATFORM_TENANT

OUT_OF_REACH = (KeyRevoked, KeyUnavailable, CredentialError, ConfigurationError)


class Position(NamedTuple):
    """Where a move's value and its stamp stand in a row; the same place where the value compares exactly."""

    value: int
    stamp: int


def positions_of(layout: Layout) -> list[Position]:
    """Return where the moves' values stand in the rows of :meth:`Layout.rows`."""
    positions, at = [], len(layout.key) + layout.has_tenant
    for move in layout.job.moves:
        exact = layout.exact(move)
        positions.append(Position(at, at if exact else at + 1))
        at += 1 if exact else 2
    return positions


def _bytes(column: Column) -> int:
    try:
        return sum(map(len, filter(None, column)))
    except TypeError:  # numbers
        return 0


class _Part(NamedTuple):
    """Some values of one move, with the row identities to which the old and the new ones are bound."""

    owners: Column
    values: Column
    old: BoundTo
    new: BoundTo

    def at(self, positions: Sequence[int]) -> _Part:
        """Return those of some positions."""
        chosen: Any = (one and [one[i] for i in positions] for one in self)
        return _Part(*chosen)


class Conversion:
    """The conversion of one batch of rows.

    Args:
        job: what is to be done.
        layout: the job's table.
        moves: convert the values of each move.
        positions: where these stand in a row.
        rows: the rows, as :class:`.reading.Reader` gives them.
        joint: makes one token of the values of each row; ``None`` if each move writes what it converts.
    """

    def __init__(
        self,
        job: Job,
        layout: Layout,
        moves: list[MoveValues],
        positions: list[Position],
        rows: Sequence[Any],
        joint: JointTokens | None = None,
    ) -> None:
        self._job = job
        self._joint = joint
        self._moves = moves
        self._positions = positions
        self._pack = layout.pack
        self._tenant_type = layout.tenant_type
        width = len(rows[0]) - len(layout.sizes.of_left_out)
        self._columns: list[Column] = [tuple(map(itemgetter(i), rows)) for i in range(width)]
        keys, identities = len(layout.key), layout.identities
        self._keys = self._columns[:keys]
        self._owners = self._columns[keys] if layout.has_tenant else None
        self._tenants: dict[Any, str] = {}
        self._refused_rows: set[int] = set()
        self._damaged: list[tuple[int, Damaged]] = []
        read = len(self._columns) - len(identities.columns)
        self._stamps = self._columns[read - len(identities.guards) - layout.guards_tenant : read]
        self._identities = identities
        self._identity_columns = [*self._keys, *self._columns[read:]]
        self._batch = Batch(tuple(rows[-1][:keys]), len(rows), [])

    def batch(self, ahead: KeysAhead, read_backs: Sequence[ReadBack], connection: Connection) -> Batch:
        """Return the rows as they are to be written.

        Args:
            ahead: opens the keys of the batch.
            read_backs: for each move what finds the values that would come back changed.
            connection: to the database.
        """
        batch = self._batch
        parts = [self._part(number) for number in range(len(self._moves))]
        groups = [
            groups_of(move, part.owners, part.values) for move, part in zip(self._moves, parts, strict=True)
        ]
        ahead.open([self._names(number, one.names) for number, one in enumerate(groups)])
        new = [
            self._converted(number, part, grouped.parts)
            for number, (part, grouped) in enumerate(zip(parts, groups, strict=True))
        ]
        if self._joint is not None:
            new = [self._joined(self._joint, new)]
        for number, read_back in enumerate(read_backs):
            self._leave_changed(number, new[number], read_back, connection)
        chosen = self._chosen(new)
        old = [self._columns[one.stamp] for one in self._positions]
        self._fill(old, new)
        guards = [*old, *self._stamps]
        batch.bytes = sum(map(_bytes, old))
        columns = [*self._keys, *guards, *new]
        batch.changes = columns if chosen is None else [[one[i] for i in chosen] for one in columns]
        batch.rows_refused = len(self._refused_rows)
        batch.damaged = [one for _, one in sorted(self._damaged, key=itemgetter(0))]
        return batch

    def _leave_changed(
        self, number: int, new: list[Any], read_back: ReadBack, connection: Connection
    ) -> None:
        """Leave the plain values as they are that would not come back as they are."""
        at = self._positions[number]
        for i in read_back.changed(connection, self._columns[at.value], self._columns[at.stamp]):
            new[i] = UNCHANGED
            self._note_damaged(i, self._job.moves[number].source, REASON)

    def _note_damaged(self, i: int, column: str, reason: str) -> None:
        key = self._pack([one[i] for one in self._keys])
        self._damaged.append((i, Damaged(key, column, reason)))

    def _chosen(self, new: list[list[Any]]) -> list[int] | None:
        """Return which rows are to be written, ``None`` for all of them."""
        if not any(UNCHANGED in one for one in new):
            return None
        # A row whose tenant's key is out of reach may hold values of the platform, which are written.
        return [i for i in range(self._batch.rows) if any(one[i] is not UNCHANGED for one in new)]

    def _fill(self, old: list[Column], new: list[list[Any]]) -> None:
        """Put the old values where none was converted."""
        for before, after in zip(old, new, strict=self._joint is None):
            if UNCHANGED in after:
                kept = before if self._job.in_place else repeat(None)
                after[:] = [b if a is UNCHANGED else a for a, b in zip(after, kept, strict=False)]

    def _part(self, number: int) -> _Part:
        """Return all values of a move."""
        move, values = self._job.moves[number], self._columns[self._positions[number].value]
        for_rows = move.opens_for_row or move.seals_for_row
        owners = self._owners if for_rows and self._owners is not None else [None] * len(values)
        old = self._identities.of(self._identities.opening(move), self._identity_columns)
        new = self._identities.of(self._identities.sealing(move), self._identity_columns)
        return _Part(owners, values, old, new)

    def _names(self, number: int, names: Sequence[tuple[Any, Any]]) -> list[Named]:
        """Return what values are known by, each with its tenant, without those that belong to none."""
        found = []
        for owner, name in names:
            try:
                found.append((self._tenant(number, owner), name))
            except DAMAGE:  # named where the value is converted
                continue
        return found

    def _converted(self, number: int, whole: _Part, groups: list[tuple[Sequence[int], bool]]) -> list[Any]:
        self._moves[number].begin()
        if len(groups) == 1:
            return self._convert_group(number, whole, *groups[0])
        converted: list[Any] = [UNCHANGED] * len(whole.values)
        for at, are_alike in groups:
            for i, value in zip(at, self._convert_group(number, whole.at(at), at, are_alike), strict=True):
                converted[i] = value
        return converted

    def _convert_group(self, number: int, part: _Part, at: Sequence[int], are_alike: bool) -> list[Any]:
        together = self._convert_together(number, part) if are_alike else None
        return self._convert_each(number, part, at) if together is None else together

    def _convert_together(self, number: int, part: _Part) -> list[Any] | None:
        """Convert values that are alike; ``None`` if one of them does not convert."""
        try:
            tenant = self._tenant(number, part.owners[0])
            converter = self._moves[number].converter(tenant, part.values[0])
            return converter.together(part.values, part.old, part.new)
        except (*UNUSUAL, *OUT_OF_REACH):  # each value for itself says what is wrong with it
            return None

    def _convert_each(self, number: int, part: _Part, at: Sequence[int]) -> list[Any]:
        move, converted = self._moves[number], list[Any]()
        known, name_of, add = move.known, move.name_of, converted.append
        bound_to = each_of(part.old), each_of(part.new)
        rows = zip(at, part.owners, part.values, nonces(len(part.values)), *bound_to, strict=False)
        for i, owner, value, nonce, opening, sealing in rows:
            # Anything unusual fails here, and is converted again with every check.
            try:
                add(known[owner, name_of(value)](value, nonce, opening, sealing))
            except UNUSUAL:
                add(self._convert_checked(i, number, owner, value, (nonce, opening, sealing)))
        return converted

    def _convert_checked(
        self, i: int, number: int, owner: Any, value: Any, arguments: tuple[Any, ...]
    ) -> Any:
        if value is None and self._columns[self._positions[number].stamp][i] is None:
            return UNCHANGED
        tenant = PLATFORM_TENANT
        try:
            tenant = self._tenant(number, owner)
            if tenant in self._batch.refused:
                self._refused_rows.add(i)
                return UNCHANGED
            if None in arguments:
                raise InvalidValue("the row identity is not complete, or of another type than it is bound to")
            return self._moves[number].convert(owner, tenant, value, *arguments)
        except OUT_OF_REACH as error:
            self._batch.refused[tenant] = str(error)
            self._refused_rows.add(i)
        except DAMAGE as error:
            is_owner = isinstance(error, TenantRequired)
            column = _named(self._job.tenant_column) if is_owner else self._job.moves[number].source
            self._note_damaged(i, column, str(error))
        return UNCHANGED

    def _joined(self, joint: JointTokens, parts: list[list[Any]]) -> list[Any]:
        """Return the token of what the columns of each row hold together."""
        tokens: list[Any] = [UNCHANGED] * self._batch.rows
        complete = [i for i, row in enumerate(zip(*parts, strict=True)) if UNCHANGED not in row]
        owners = self._owners if self._owners is not None and self._job.moves[0].opens_for_row else None
        groups: dict[Any, list[int]] = {}
        for i in complete:
            groups.setdefault(None if owners is None else owners[i], []).append(i)
        for owner, group in groups.items():
            tenant = self._tenant(0, owner)
            try:
                made = joint.of(tenant, [[part[i] for part in parts] for i in group])
            except OUT_OF_REACH as error:
                self._batch.refused[tenant] = str(error)
                self._refused_rows.update(group)
                continue
            for i, token in zip(group, made, strict=True):
                if isinstance(token, str):
                    self._note_damaged(i, ", ".join(move.source for move in self._job.moves), token)
                else:
                    tokens[i] = token
        return tokens

    def _tenant(self, number: int, owner: Any) -> str:
        """Return the tenant of a row, as far as a move needs one."""
        move = self._job.moves[number]
        if self._owners is None or not (move.opens_for_row or move.seals_for_row):
            return PLATFORM_TENANT
        if owner not in self._tenants:
            self._tenants[owner] = name_in(self._tenant_type, owner)
        return self._tenants[owner]


def _named(tenant_column: TenantColumn | None) -> str:
    return tenant_column if isinstance(tenant_column, str) else ".".join(tenant_column or ())
