"""The layout of a job's table in the database, and the queries that read its rows in the order of their keys.

Rows are found by their primary key alone, from one key to the next: no OFFSET, no cursor that stays open, and
a row that is written meanwhile is neither missed nor read twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    and_,
    bindparam,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.columns.tenants import rows_of
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.comparing import python_type_of
from sqlalchemy_cmk.databases.reading import RowReader, has_processors
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.identities import Identities
from sqlalchemy_cmk.rekey.job import Job, Move
from sqlalchemy_cmk.rekey.keys import Key, beyond, key_as_text
from sqlalchemy_cmk.rekey.reflected import reflected
from sqlalchemy_cmk.rekey.sizes import Sizes


class Layout:
    """A job's table as the database has it.

    Args:
        job: what is to be done.
        connection: where the table is looked up.
        reads_only: nothing is written, and the columns to write to need not be there yet.

    Attributes:
        database: what is known of the database.
        table: the table.
        key: the columns of its primary key.
        identities: what its rows' values are bound to, where they are.
        sizes: which of its values may be long.
        statement_limit: the bytes of the longest statement that the server takes; ``None`` for no limit.

    Raises:
        ConfigurationError: the table, a column or the primary key is not there, or rows are not found by it.
    """

    def __init__(self, job: Job, connection: Connection, *, reads_only: bool = False) -> None:
        self.job = job
        self._reads_only = reads_only
        self.dialect = connection.dialect
        self.database = database_of(connection.dialect)
        metadata = MetaData()
        self.table = reflected(metadata, job.table, job.schema, connection)
        self.key = tuple(self.table.primary_key)
        if not self.key:
            raise ConfigurationError(
                f"{job.fullname} has no primary key: a row cannot be found again while others write; give "
                "the table one first"
            )
        odd = self.database.surroundings.odd_key(connection, self.table)
        if odd:
            raise ConfigurationError(f"{job.fullname} {odd}")
        for move in job.moves:
            for name in (move.source,) if reads_only else (move.source, move.target):
                self.column(name)
        self.identities = Identities(job, self)
        self.sizes = Sizes(self)
        self.statement_limit = self.database.statement_limit(connection)
        self._owner: Any = None
        self._queries: dict[tuple[bool, bool], Select[Any]] = {}
        self._source, self._tenant = self._tenant_column(metadata, connection)
        connection.rollback()
        self._keys = msgspec.json.Decoder(tuple[tuple(python_type_of(one.type) or Any for one in self.key)])  # type: ignore[misc]

    def column(self, name: str) -> Column[Any]:
        """Return a column of the table.

        Raises:
            ConfigurationError: there is none of this name.
        """
        if name not in self.table.c:
            raise ConfigurationError(f"{self.job.fullname} has no column {name!r} in this database")
        return self.table.c[name]

    def pack(self, key: Sequence[Any]) -> str:
        """Return a primary key as text."""
        return key_as_text(key)

    def unpack(self, text: str | None) -> Key | None:
        """Return a primary key from its text."""
        return None if text is None else self._keys.decode(text)

    @cached_property
    def row_reader(self) -> RowReader | None:
        """What reads rows as the driver gives them; ``None`` if a type has to read a value.

        All ranges share it: it learns from the first result how to read the others.
        """
        types = [one.type for one in self.rows(None, None, 1).selected_columns]
        return None if any(has_processors(one, self.dialect) for one in types) else self.database.row_reader()

    def next_rows(
        self, after: Key | None, up_to: Key | None, limit: int, longest: int
    ) -> tuple[Select[Any], dict[str, Any]]:
        """Return :meth:`rows` as a query made once for all batches, with its parameters.

        Args:
            after: the key before the first row, or ``None``.
            up_to: the key of the last row, or ``None``.
            limit: rows at most.
            longest: the bytes of the longest value that is sent.
        """
        shape = after is not None, up_to is not None
        if shape not in self._queries:
            lower, upper = (
                self._named(name) if there else None for name, there in zip("au", shape, strict=True)
            )
            self._queries[shape] = self.rows(lower, upper, bindparam("n", type_=Integer()))
        bounds = {f"a{i}": value for i, value in enumerate(after or ())}
        bounds |= {f"u{i}": value for i, value in enumerate(up_to or ())}
        bounds |= {self.sizes.limit.key: longest} if self.sizes.columns else {}
        return self._queries[shape], {"n": limit, **bounds}

    def _named(self, name: str) -> Key:
        return tuple(bindparam(f"{name}{i}", type_=one.type) for i, one in enumerate(self.key))

    def rows(self, after: Key | None, up_to: Key | None, limit: Any) -> Select[Any]:
        """Return the query for the next rows.

        They have the key columns, the tenant, for each move what :meth:`old` says, what is guarded besides
        (see :attr:`guards`), the identity columns that are not in the key, and
        :attr:`~.sizes.Sizes.of_left_out`.
        """
        columns: list[ColumnElement[Any]] = [] if self._tenant is None else [self._tenant]
        for move in self.job.moves:
            columns += (self.sizes.unless_long(move.source, one) for one in self.old(move))
        if self.guards_tenant:
            columns.append(self.database.exact(self._owner))
        columns += self.identities.guards
        columns += self.identities.columns
        columns += self.sizes.of_left_out
        return self._ordered(columns, after, up_to, limit)

    def boundary(self, after: Key | None, up_to: Key | None, count: int) -> Select[Any]:
        """Return the query for the key that is so many rows further on, up to another."""
        return self._ordered((), after, up_to, 1).offset(count - 1)

    def last(self, after: Key | None) -> Select[Any]:
        """Return the query for the last key, if there is one further on."""
        query = self.all_rows(*self.key).where(*self._between(after, None))
        return query.order_by(*(column.desc() for column in self.key)).limit(1)

    def keys(self, after: Key | None, up_to: Key | None) -> Select[Any]:
        """Return the query for the key of the next row."""
        return self._ordered((), after, up_to, 1)

    def all_rows(self, *columns: Any) -> Select[Any]:
        """Return a query over all the job's rows, whatever their keys."""
        return select(*columns).select_from(self._source).where(*self._criteria())

    def every_row(self, after: Key | None, up_to: Key | None, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a query over all rows between two keys, also those that the job has nothing to do with."""
        return select(*columns).select_from(self._source).where(*self._between(after, up_to))

    def _ordered(
        self, columns: Sequence[ColumnElement[Any]], after: Key | None, up_to: Key | None, limit: Any
    ) -> Select[Any]:
        query = self.all_rows(*self.key, *columns).where(*self._between(after, up_to))
        return query.order_by(*self.key).limit(limit)

    @property
    def has_tenant(self) -> bool:
        """Whether each row is read with its tenant, after the key."""
        return self._tenant is not None

    @property
    def tenant(self) -> ColumnElement[Any] | None:
        """The column that says whose row it is, with the type by which it is read."""
        tenant: ColumnElement[Any] | None = self._tenant
        return tenant

    @property
    def tenant_type(self) -> TypeEngine[Any]:
        """The type of what each row is read with for its tenant."""
        return NullType() if self._tenant is None else self._tenant.type

    def old(self, move: Move) -> list[ColumnElement[Any]]:
        """Return the columns read for a move: the value to open, and the stamp by which it is compared.

        They are the same where the stored value compares exactly.
        """
        value = self.value(move)
        return [value] if self.exact(move) else [value, self.stamp(move)]

    def value(self, move: Move) -> ColumnElement[Any]:
        """Return the source as it is opened: as the driver gives it, or by its plain type."""
        return type_coerce(self.column(move.source), NullType() if move.opens_sealed else move.opens)

    def exact(self, move: Move) -> bool:
        """Return whether the value that is read can be compared in the database to the last bit."""
        if move.opens_sealed:
            return True
        if not isinstance(move.opens, LargeBinary | String):
            return False
        comparable = self.database.is_read_exactly(self.column(move.source).type)
        return comparable and not has_processors(move.opens, self.dialect)

    def stamp(self, move: Move) -> ColumnElement[Any]:
        """Return the form of a source that is compared to know that it has not changed since it was read."""
        column = self.column(move.source)
        if move.opens_sealed or (self.exact(move) and isinstance(column.type, LargeBinary)):
            return type_coerce(column, NullType())
        return self.database.exact(column)

    @property
    def guards(self) -> list[ColumnElement[Any]]:
        """What must be as it was read for a row to be changed: the stamps, whose row it is, its identity.

        A tenant's sealed value stays theirs whatever becomes of the row. Any other is sealed for the tenant
        and the row identity that were read: if the row has others by now, it must not be written.
        """
        stamps = [self.stamp(move) for move in self.job.moves]
        return [*stamps, *self._owner_guard(), *self.identities.guards]

    def _owner_guard(self) -> list[ColumnElement[Any]]:
        if not self.guards_tenant:
            return []
        if not self.joined:
            return [self.database.exact(self._owner)]
        owner = select(self.database.exact(self._owner)).where(self._same_row(self._owner.table))
        return [owner.correlate(self.table).scalar_subquery()]

    @property
    def joined(self) -> bool:
        """Whether the tenant column is in another table."""
        return self._owner is not None and self._owner.table is not self.table

    @property
    def guards_tenant(self) -> bool:
        """Whether rows are read with the exact form of their tenant column."""
        return self._tenant is not None and any(
            move.seals_for_row and not move.opens_for_row for move in self.job.moves
        )

    def _criteria(self) -> list[ColumnElement[bool]]:
        criteria: list[ColumnElement[bool]] = []
        if self.job.makes_tokens:
            # Also where there is a token: a process that does not know the index leaves old ones.
            criteria += (self.column(m.source).is_not(None) for m in self.job.moves)
        elif not self.job.in_place and not self._reads_only:
            todo = (
                and_(self.column(m.source).is_not(None), self.column(m.target).is_(None))
                for m in self.job.moves
            )
            criteria.append(or_(*todo))
        if self.job.tenant is not None and self._tenant is not None:
            criteria.append(rows_of(self._owner, self._tenant.type, self.job.tenant, self.dialect))
        return criteria

    def _between(self, after: Key | None, up_to: Key | None) -> list[ColumnElement[bool]]:
        bounds = [] if after is None else [beyond(self.key, after)]
        return bounds if up_to is None else [*bounds, ~beyond(self.key, up_to)]

    def _tenant_column(self, metadata: MetaData, connection: Connection) -> tuple[Any, Any]:
        name = self.job.tenant_column
        if name is None:
            return self.table, None
        if isinstance(name, str):
            return self.table, self._typed(self.column(name))
        *schema, table, column = name
        base = reflected(metadata, table, schema[0] if schema else None, connection)
        if len(base.primary_key) != len(self.key) or column not in base.c:
            raise ConfigurationError(f"{self.job.fullname}: its rows cannot be matched to {'.'.join(name)}")
        return self.table.join(base, self._same_row(base)), self._typed(base.c[column])

    def _same_row(self, base: Table) -> ColumnElement[bool]:
        """Return the criterion by which a row of the base table is the job's row."""
        pairs = zip(self.key, base.primary_key, strict=True)
        return and_(*(ours == theirs for ours, theirs in pairs))

    def _typed(self, column: Column[Any]) -> ColumnElement[Any]:
        self._owner = column
        return column if self.job.tenant_type is None else type_coerce(column, self.job.tenant_type)
