"""The work on the rows of a table: a :class:`Job` of one or more :class:`Move`.

Both are small values that travel to worker processes. They name tables and columns, whose types are read from
the database, so that a job can be written in a migration, where there is no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import FromClause, Table, inspect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.scheme import context_named
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.rekey.token_type import TokensOf
from sqlalchemy_cmk.runtime.kinds import Kind, described, several, takes, text
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# A column of the table itself, or (table, column) or (schema, table, column) of a base table.
TenantColumn = str | tuple[str, ...]
# The columns of a row identity, with their types where the database's own do not give the same values.
RowColumns = tuple[tuple[str, TypeEngine[Any] | None], ...]
GivenRowColumns = Sequence[str] | Mapping[str, TypeEngine[Any] | None] | RowColumns | None


def row_columns(given: GivenRowColumns) -> RowColumns:
    """Return the columns of a row identity, given by their names, or by a mapping from names to types.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(given, Mapping):
        return tuple(given.items())
    if isinstance(given, str):
        raise ConfigurationError(f"row_columns is a tuple of names, such as ({given!r},)")
    several("a tuple of columns' names").or_none.require("row_columns", given)
    pairs = [(one, None) if isinstance(one, str) else one for one in given or ()]
    if not all(isinstance(one, tuple) and len(one) == 2 for one in pairs):
        raise ConfigurationError("row_columns is a tuple of columns' names, or a mapping from them to types")
    return tuple((name, type_) for name, type_ in pairs)


@dataclass(frozen=True, slots=True)
class Move:
    """The change of the values of one column.

    Args:
        source: the column that is read.
        target: the column that is written; the same as ``source`` to re-encrypt in place.
        opens: the type of the values that are there: an :class:`EncryptedType` with a pinned context, or
            another type for plain values.
        seals: the type of the values that are written, likewise.
        existing_row_columns: what identifies the rows of the row-bound values that are there, where these are
            other columns than the job's.

    Raises:
        ConfigurationError: an ``EncryptedType`` has no context, or a column would be written plain in place.
    """

    source: str
    target: str
    opens: TypeEngine[Any]
    seals: TypeEngine[Any]
    existing_row_columns: GivenRowColumns = None

    def __post_init__(self) -> None:
        for type_ in (self.opens, self.seals):
            if isinstance(type_, EncryptedType) and not context_of(type_):
                raise ConfigurationError(
                    f"{self.source}: where no column says what the values are bound to, "
                    "EncryptedType(..., context=('table', 'column')) does"
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

    @property
    def makes_tokens(self) -> bool:
        """Whether the tokens of a search index are written: for each value that is there, again."""
        return isinstance(self.seals, TokensOf)

    @property
    def opens_bound(self) -> bool:
        """Whether the values that are there are bound to their rows."""
        return isinstance(self.opens, EncryptedType) and self.opens.scheme.row_bound

    @property
    def seals_bound(self) -> bool:
        """Whether the values that are written are bound to their rows."""
        return isinstance(self.seals, EncryptedType) and self.seals.scheme.row_bound

    @property
    def opens_for_row(self) -> bool:
        """Whether the values that are there are sealed for the owner of their row, not for the platform."""
        return _is_for_row(self.opens)

    @property
    def seals_for_row(self) -> bool:
        """Whether the values that are written are sealed for the owner of their row."""
        return _is_for_row(self.seals)


MOVES = Kind((tuple,), "a tuple with a Move for each column")
MOVE = Kind((Move,), "a tuple with a Move for each column")


@dataclass(frozen=True, slots=True)
class Job:
    """The changes of the rows of one table.

    Args:
        table: the table's name.
        moves: one for each column.
        schema: the table's schema.
        tenant_column: the column that says whose row it is, ``"clinic_id"``; ``("people", "clinic_id")`` or
            ``("schema", "people", "clinic_id")`` where it is in the base table of joined inheritance, whose
            primary key is this table's; ``None`` for rows of the platform.
        tenant_type: the type of the tenant column, where the model's differs from what the database says.
        tenant: only rows of this tenant.
        row_columns: what identifies a row for row-bound values: names, or a mapping from names to types where
            the model's differ from what the database says. The primary key without it.
    """

    table: str
    moves: tuple[Move, ...]
    schema: str | None = None
    tenant_column: TenantColumn | None = None
    tenant_type: TypeEngine[Any] | None = None
    tenant: str | None = None
    row_columns: GivenRowColumns = None

    def __post_init__(self) -> None:
        text("the name of a table").require("table", self.table)
        text("the name of a schema").or_none.require("schema", self.schema)
        text("a tenant's name").or_none.require("tenant", self.tenant)
        MOVES.require("moves", self.moves)
        for move in self.moves:
            MOVE.require("moves", move)
        if not self.moves:
            raise ConfigurationError(f"{self.fullname}: no column to work on")
        if len({move.makes_tokens for move in self.moves}) > 1:
            raise ConfigurationError(f"{self.fullname}: tokens are made in a job of their own")
        if self.joins and len(self.targets) > 1:
            raise ConfigurationError(f"{self.fullname}: each index's tokens are made in a job of their own")
        if len({move.in_place for move in self.moves}) > 1:
            raise ConfigurationError(f"{self.fullname}: columns changed in place need a job of their own")

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return fullname(self.table, self.schema)

    @property
    def in_place(self) -> bool:
        """Whether columns are changed in place."""
        return self.moves[0].in_place

    @property
    def makes_tokens(self) -> bool:
        """Whether hidden columns of search indexes are written."""
        return self.moves[0].makes_tokens

    @property
    def joins(self) -> bool:
        """Whether each row's values are written as one: the token of an index over several columns."""
        return self.makes_tokens and len(self.moves) > 1

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are written."""
        return tuple(dict.fromkeys(move.target for move in self.moves))

    @property
    def description(self) -> str:
        """The work in words."""
        columns = ", ".join(
            move.source if move.in_place else f"{move.source} -> {move.target}" for move in self.moves
        )
        rows = "" if self.tenant is None else f", rows of tenant {self.tenant!r}"
        return f"{self.fullname}: {columns}{rows}"

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same job: an interrupted run is found again by it."""
        parts = [self.description, repr(self.tenant_column), repr(self.tenant)]
        parts.append(repr(row_columns(self.row_columns)))
        for move in self.moves:
            parts.append(f"{_described(move.opens)} to {_described(move.seals)}")
            parts.append(repr(row_columns(move.existing_row_columns)))
        return sha256("\n".join(parts).encode()).hexdigest()

    @classmethod
    @takes(
        columns=several("the names of columns, such as ('ssn',)", str), tenant=text("a tenant's name").or_none
    )
    def of(
        cls, table: FromClause | type[Any], columns: tuple[str, ...] = (), *, tenant: str | None = None
    ) -> Job:
        """Return the job that re-encrypts a model's sealed columns under their owners' active DEKs.

        Args:
            table: the model, or its table, ``Model.__table__``, of a protected ``MetaData``.
            columns: the names of its sealed columns; all without it.
            tenant: only values of this tenant; ``""`` for those of the platform, whose rows are anybody's.

        Raises:
            ConfigurationError: the table has no such sealed columns, or it is a join, a view or the like.
        """
        if not isinstance(table, FromClause):
            table = getattr(inspect(table, raiseerr=False), "local_table", table)
        if not isinstance(table, Table):
            raise ConfigurationError(
                f"re-keying goes through one table: give a model or its table, not {described(table)}"
            )
        sealed = {one.column.name: one for one in sealed_columns(table).values()}
        chosen = [name for name in columns or sealed if name in sealed and _can_be(sealed[name], tenant)]
        unknown = sorted(set(columns) - set(chosen))
        if unknown or not chosen:
            whose = "" if tenant is None else f" with values of {repr(tenant) if tenant else 'the platform'}"
            raise ConfigurationError(
                f"{table.fullname} has no sealed column {', '.join(unknown) or 'at all'}{whose}"
            )
        moves = tuple(_in_place(sealed[name]) for name in chosen)
        bound = any(move.seals_bound for move in moves)
        column, type_ = tenant_of(table)
        identity = row_columns_of(table) if bound else ()
        return cls(table.name, moves, table.schema, column, type_, tenant or None, identity)


def fullname(table: str, schema: str | None) -> str:
    """Return a table's name with its schema, as SQLAlchemy's ``Table.fullname``."""
    return f"{schema}.{table}" if schema else table


def tenant_of(table: Table) -> tuple[TenantColumn | None, TypeEngine[Any] | None]:
    """Return the name of a model's tenant column as a job gives it, and the column's type."""
    source = tenant_source(table)
    if source is None:
        return None, None
    name = source.column.name
    holder = source.table
    if holder is table:
        return name, source.column.type
    base = (holder.name, name) if holder.schema is None else (holder.schema, holder.name, name)
    return base, source.column.type


def row_columns_of(table: Table) -> RowColumns:
    """Return how a job names the row identity of a model's table, each column with its type.

    Raises:
        ConfigurationError: the rows have no identity, or it is sealed itself.
    """
    columns = identity_of(table).columns
    for column in columns:
        if isinstance(column.type, EncryptedType):
            raise ConfigurationError(
                f"{table.fullname}.{column.name} is sealed and identifies rows: values that are bound to it "
                "cannot be re-keyed; name a plain column in __cmk_row__"
            )
    return tuple((column.name, column.type) for column in columns)


def context_of(type_: EncryptedType) -> Context | None:
    """Return what a type's values are bound to, if it says so."""
    if type_.scheme.context is not None:
        return context_named(type_.scheme.context)
    return type_.sealed_column.context if type_.sealed_column else None


@takes(type_=Kind((EncryptedType,), "the EncryptedType of a column"))
def pinned(type_: EncryptedType) -> EncryptedType:
    """Return a column's type with its context pinned, to be used where there is no column."""
    rebuild, arguments = type_.__reduce__()
    return rebuild(*arguments)  # type: ignore[no-any-return]


def _can_be(sealed: SealedColumn, tenant: str | None) -> bool:
    """Return whether a column holds values of a tenant; ``None`` stands for any."""
    return tenant is None or (tenant != PLATFORM_TENANT) is sealed.is_tenants


def _in_place(sealed: SealedColumn) -> Move:
    type_: Any = sealed.column.type
    return Move(sealed.column.name, sealed.column.name, pinned(type_), pinned(type_))


def _is_for_row(type_: TypeEngine[Any]) -> bool:
    return isinstance(type_, EncryptedType) and type_.scheme.owner == "row"


def _described(type_: TypeEngine[Any]) -> str:
    context = context_of(type_) if isinstance(type_, EncryptedType) else None
    return f"{type_!r} of {context.data.hex()}" if context else repr(type_)
