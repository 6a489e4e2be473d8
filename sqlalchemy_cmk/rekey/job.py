"""What is to be done to the rows of a table: a :class:`Job` of one or more :class:`Move`.

Both are small values that travel to worker processes. They name tables and columns; what those are is read
from the database, so that a job can be written in a migration, where no model tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Table
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.orm.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.types import EncryptedType


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to the values of one column.

    Args:
        source: the column that is read.
        target: the column that is written; the same as ``source`` to re-encrypt in place.
        opens: the type of the values that are there: an :class:`EncryptedType` with a pinned context, or
            another type for plain values.
        seals: the type of the values that are written, likewise.

    Raises:
        ConfigurationError: an ``EncryptedType`` has no context, or a column would be written plain in place.
    """

    source: str
    target: str
    opens: TypeEngine[Any]
    seals: TypeEngine[Any]

    def __post_init__(self) -> None:
        for type_ in (self.opens, self.seals):
            if isinstance(type_, EncryptedType) and not context_of(type_):
                raise ConfigurationError(
                    f"{self.source}: EncryptedType(..., context='table.column') says what the values are "
                    "bound to, where no column does"
                )
        if self.in_place and not (self.opens_sealed and self.seals_sealed):
            raise ConfigurationError(
                f"{self.source}: values are sealed, or opened for good, into another column; "
                "only what is sealed before and after is changed in place"
            )

    @property
    def in_place(self) -> bool:
        """Whether the column that is read is the one that is written."""
        return self.source == self.target

    @property
    def opens_sealed(self) -> bool:
        """Whether the values that are there are sealed."""
        return isinstance(self.opens, EncryptedType)

    @property
    def seals_sealed(self) -> bool:
        """Whether the values that are written are sealed."""
        return isinstance(self.seals, EncryptedType)


@dataclass(frozen=True, slots=True)
class Job:
    """What happens to the rows of one table.

    Args:
        table: the table's name.
        moves: one for each column.
        schema: the table's schema.
        tenant_column: the column that tells whose row it is, ``"clinic_id"``; ``"people.clinic_id"`` where it
            is in the base table of joined inheritance, whose primary key is this table's; ``None`` for rows
            of the platform.
        tenant_type: the type of the tenant column, where the model's differs from what the database says.
        tenant: only rows of this tenant.
    """

    table: str
    moves: tuple[Move, ...]
    schema: str | None = None
    tenant_column: str | None = None
    tenant_type: TypeEngine[Any] | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        if not self.moves:
            raise ConfigurationError(f"{self.fullname}: no column to work on")
        if len({move.in_place for move in self.moves}) > 1:
            raise ConfigurationError(f"{self.fullname}: columns changed in place need a job of their own")

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    @property
    def in_place(self) -> bool:
        """Whether columns are changed in place."""
        return self.moves[0].in_place

    @property
    def description(self) -> str:
        """What is done, for people."""
        columns = ", ".join(
            move.source if move.in_place else f"{move.source} -> {move.target}" for move in self.moves
        )
        rows = "" if self.tenant is None else f", rows of tenant {self.tenant!r}"
        return f"{self.fullname}: {columns}{rows}"

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same job: by it an interrupted run is found again."""
        parts = [self.description, repr(self.tenant_column), repr(self.tenant)]
        parts += [f"{_described(move.opens)} to {_described(move.seals)}" for move in self.moves]
        return sha256("\n".join(parts).encode()).hexdigest()

    @classmethod
    def of(cls, table: Table, columns: tuple[str, ...] = (), *, tenant: str | None = None) -> Job:
        """Return the job that re-encrypts a model's sealed columns under their tenants' active DEKs.

        Args:
            table: the table, of a protected ``MetaData``.
            columns: the names of its sealed columns; all without it.
            tenant: only rows of this tenant.

        Raises:
            ConfigurationError: the table has no such sealed columns.
        """
        sealed = {place.column.name: place for place in sealed_columns(table).values()}
        unknown = set(columns) - set(sealed)
        if unknown or not sealed:
            what = ", ".join(sorted(unknown)) or "any"
            raise ConfigurationError(f"{table.fullname} has no sealed column {what}")
        moves = tuple(_in_place(sealed[name]) for name in columns or sealed)
        return cls(table.name, moves, table.schema, *tenant_of(table), tenant=tenant)


def tenant_of(table: Table) -> tuple[str | None, TypeEngine[Any] | None]:
    """Return how a job names a model's tenant column, and that column's type."""
    source = tenant_source(table)
    if source is None:
        return None, None
    name = source.column.name
    return (name if source.table is table else f"{source.table.fullname}.{name}"), source.column.type


def context_of(type_: EncryptedType) -> str | None:
    """Return what a type's values are bound to, if it says so."""
    return type_.context or (type_.place.context if type_.place else None)


def pinned(type_: EncryptedType) -> EncryptedType:
    """Return the type of a column, to be used where there is no column."""
    rebuild, arguments = type_.__reduce__()
    return rebuild(*arguments)  # type: ignore[no-any-return]


def _in_place(place: SealedColumn) -> Move:
    type_: Any = place.column.type
    return Move(place.column.name, place.column.name, pinned(type_), pinned(type_))


def _described(type_: TypeEngine[Any]) -> str:
    context = f" of {context_of(type_)}" if isinstance(type_, EncryptedType) else ""
    return f"{type_!r}{context}"
