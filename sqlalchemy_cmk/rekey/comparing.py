"""Compares what a job has written into other columns with what it has read there, value by value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CHAR, JSON, Connection, type_coerce
from sqlalchemy.types import NullType

from sqlalchemy_cmk.columns.tenants import name_in
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.format import NotAuthentic
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.converters import BoundTo, each_of
from sqlalchemy_cmk.rekey.groups import DAMAGE, UNUSUAL, groups_of
from sqlalchemy_cmk.rekey.job import Move
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.reading import MAX_BYTES
from sqlalchemy_cmk.rekey.values import MoveValues
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# Values, their rows' tenant columns and row identities; returns each value as the application has it.
Read = Callable[[Sequence[Any], Sequence[Any], BoundTo], Sequence[Any]]

_NOT_A_VALUE = object()


@dataclass(frozen=True, slots=True)
class Compared:
    """Consecutive rows, compared.

    Attributes:
        last: the key of the last row.
        is_last: whether no row comes after it.
        different: the keys of those whose new value is not the old one, or is not theirs.
    """

    last: Key
    is_last: bool
    different: list[Key]


class Comparing:
    """Compares the sources and the targets of a job's rows, each opened by its own type.

    Args:
        keyring: opens the DEKs.
        layout: the table of a job into other columns.
    """

    def __init__(self, keyring: Keyring, layout: Layout) -> None:
        self._keyring = keyring
        self._layout = layout
        self._tenants: dict[Any, str] = {}

    def compare(self, connection: Connection, after: Key | None, up_to: Key | None, limit: int) -> Compared:
        """Compare the next rows from one key (exclusive) to another (inclusive); there may be none.

        Args:
            connection: its transaction goes on.
            after: the key before the first row, or ``None``.
            up_to: the key of the last row, or ``None``.
            limit: how many rows, at most; fewer where their values are long.

        Raises:
            KeyRevoked: a key is out of reach, as is :class:`KeyUnavailable`.
        """
        layout = self._layout
        tenant = [] if layout.tenant is None else [layout.tenant]
        pairs = [one for move in layout.job.moves for one in _pair(layout, move)]
        columns = [*layout.key, *tenant, *pairs, *layout.identities.columns]
        asked = self._fitting(connection, after, up_to, limit)
        query = layout.every_row(after, up_to, *columns).order_by(*layout.key).limit(asked)
        rows = connection.execute(query).all()
        if not rows:
            return Compared((), True, [])
        read = list(zip(*rows, strict=True))
        keys, rest = read[: len(layout.key)], read[len(layout.key) :]
        owners = rest.pop(0) if tenant else (None,) * len(rows)
        identity_columns = [*keys, *rest[len(pairs) :]]
        different = set[int]()
        for number, move in enumerate(layout.job.moves):
            different |= self._different(move, rest[4 * number : 4 * number + 4], owners, identity_columns)
        by_row = list(zip(*keys, strict=True))
        return Compared(tuple(by_row[-1]), len(rows) < asked, [by_row[i] for i in sorted(different)])

    def _fitting(self, connection: Connection, after: Key | None, up_to: Key | None, limit: int) -> int:
        """Return how many rows are to be asked for, by the lengths of their values."""
        sizes, key = self._layout.sizes, self._layout.key
        if not sizes.columns:
            return limit
        query = self._layout.every_row(after, up_to, sizes.total).order_by(*key).limit(limit)
        total = 0
        for i, size in enumerate(connection.execute(query).scalars().all()):
            total += int(size)
            if total > MAX_BYTES and i:
                return i
        return limit

    def _different(
        self, move: Move, columns: Sequence[Sequence[Any]], owners: Sequence[Any], of_identity: Any
    ) -> set[int]:
        source, source_null, target, target_null = columns
        nulls = zip(source_null, target_null, strict=True)
        different = {i for i, (one, other) in enumerate(nulls) if bool(one) is not bool(other)}
        there = [i for i, null in enumerate(source_null) if not (null or i in different)]
        if not there:
            return different
        identities = self._layout.identities
        old = _at(there, identities.of(identities.opening(move), of_identity))
        new = _at(there, identities.of(identities.sealing(move), of_identity))
        owners_there = [owners[i] for i in there]
        before = self._source(move)([source[i] for i in there], owners_there, old)
        after = self._target(move)([target[i] for i in there], owners_there, new)
        same = _blank_padded if isinstance(move.seals, CHAR) else _same
        pairs = zip(there, before, after, strict=True)
        return different | {i for i, one, other in pairs if not same(one, other)}

    def _source(self, move: Move) -> Read:
        if isinstance(move.opens, EncryptedType):
            opening = Move(move.source, move.target, move.opens, NullType(), move.existing_row_columns)
            return self._opened(opening)
        if not isinstance(move.seals, EncryptedType):
            return _as_they_are
        # What is sealed may be of another class than what the plain column gives.
        encode, decode = move.seals.codec.encode, move.seals.codec.decode
        return lambda values, *_: [decode(encode(value)) for value in values]

    def _target(self, move: Move) -> Read:
        if not isinstance(move.seals, EncryptedType):
            return _as_they_are
        # Never mixed: a plain value in the place of a sealed one is what is looked for.
        seals = move.seals.with_options(accept_plaintext=False, accept_legacy=())
        return self._opened(Move(move.target, move.source, seals, NullType()))

    def _opened(self, move: Move) -> Read:
        return _Opening(self._keyring, move, self._tenant if move.opens_for_row else _of_the_platform)

    def _tenant(self, owner: Any) -> str:
        if self._layout.tenant is None:
            return PLATFORM_TENANT
        if owner not in self._tenants:
            self._tenants[owner] = name_in(self._layout.tenant_type, owner)
        return self._tenants[owner]


class _Opening:
    """Opens a move's values, those of one owner and one DEK together."""

    def __init__(self, keyring: Keyring, move: Move, tenant_of: Callable[[Any], str]) -> None:
        self._values = MoveValues(keyring.keys, move, keyring.connections.database)
        self._tenant_of = tenant_of
        self._takes_plain = isinstance(move.opens, EncryptedType) and move.opens.scheme.is_mixed

    def __call__(self, stored: Sequence[Any], owners: Sequence[Any], identities: BoundTo) -> list[Any]:
        opened: list[Any] = [_NOT_A_VALUE] * len(stored)
        for at, are_alike in groups_of(self._values, owners, stored).parts:
            part = [stored[i] for i in at], [owners[i] for i in at], _at(at, identities)
            found = self._together(*part) if are_alike else None
            for i, value in zip(at, self._each(*part) if found is None else found, strict=True):
                opened[i] = None if value is JSON.NULL else value
        return opened

    def _together(
        self, stored: Sequence[Any], owners: Sequence[Any], identities: BoundTo
    ) -> list[Any] | None:
        """Open values that are alike; ``None`` if one of them does not open."""
        try:
            converter = self._values.converter(self._tenant_of(owners[0]), stored[0])
            return converter.together(stored, identities, None)
        except UNUSUAL:
            return None

    def _each(self, *part: Any) -> list[Any]:
        stored, owners, identities = part
        return list(map(self._one, stored, owners, each_of(identities)))

    def _one(self, stored: Any, owner: Any, identity: Any) -> Any:
        values = self._values
        if identity is None or not (self._takes_plain or isinstance(stored, bytes | memoryview)):
            return _NOT_A_VALUE
        known = values.known.get((owner, values.name_of(stored)))
        try:
            if known is not None:
                return known(stored, b"", identity, b"")
            return values.convert(owner, self._tenant_of(owner), stored, b"", identity, b"")
        except (*DAMAGE, NotAuthentic):
            return _NOT_A_VALUE


def _of_the_platform(_: Any) -> str:
    return PLATFORM_TENANT


def _as_they_are(values: Sequence[Any], *_: Any) -> Sequence[Any]:
    return values


def _at(positions: Sequence[int], identities: Sequence[Any] | None) -> list[Any] | None:
    return None if identities is None else [identities[i] for i in positions]


def _pair(layout: Layout, move: Move) -> list[Any]:
    """Return what is read for a move: each value, and whether it is NULL, which a JSON null is not."""
    source, target = layout.column(move.source), layout.column(move.target)
    new = type_coerce(target, NullType() if move.seals_sealed else move.seals)
    return [layout.value(move), source.is_(None), new, target.is_(None)]


def _same(one: Any, other: Any) -> bool:
    if one is _NOT_A_VALUE or other is _NOT_A_VALUE:
        return False
    # A float that is no number is equal to none.
    return bool(one == other or (one != one and other != other))


def _blank_padded(one: Any, other: Any) -> bool:
    """Return whether two values of a CHAR(n) are the same, which the database fills up with blanks."""
    stripped = (value.rstrip(" ") if isinstance(value, str) else value for value in (one, other))
    return _same(*stripped)
