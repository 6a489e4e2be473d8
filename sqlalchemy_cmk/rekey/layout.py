"""How a job's table is laid out in the database, and how its rows are read in the order of their keys.

Rows are found by their primary key alone, from one key to the next: no OFFSET, no cursor that stays open, and
a row that is written meanwhile is neither missed nor read twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    String,
    Table,
    and_,
    bindparam,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.orm.columns import MYSQL, exactly, python_type_of
from sqlalchemy_cmk.orm.tenants import rows_of
from sqlalchemy_cmk.rekey.job import Job, Move

Key = tuple[Any, ...]


class Layout:
    """A job's table as the database has it.

    Args:
        job: what is to be done.
        connection: where the table is looked up.

    Attributes:
        table: the table.
        key: the columns of its primary key.

    Raises:
        ConfigurationError: the table, a column or the primary key is not there.
    """

    def __init__(self, job: Job, connection: Connection) -> None:
        self.job = job
        self.dialect = connection.dialect
        metadata = MetaData()
        self.table = _reflected(metadata, job.table, job.schema, connection)
        self.key = tuple(self.table.primary_key)
        if not self.key:
            raise ConfigurationError(
                f"{job.fullname} has no primary key: its rows cannot be told apart while others write them; "
                "give it one first"
            )
        for move in job.moves:
            for name in (move.source, move.target):
                self.column(name)
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
        return msgspec.json.encode(tuple(key), enc_hook=str).decode()

    def unpack(self, text: str | None) -> Key | None:
        """Return a primary key from its text."""
        return None if text is None else self._keys.decode(text)

    @property
    def raw(self) -> bool:
        """Whether rows come from the driver just as they are needed, so that no type has to read them."""
        types = [one.type for one in self.rows(None, None, 1).selected_columns]
        return not any(_has_processors(one, self.dialect) for one in types)

    def next_rows(
        self, after: Key | None, up_to: Key | None, limit: int
    ) -> tuple[Select[Any], dict[str, Any]]:
        """Return :meth:`rows` as a query made once for all batches, with its parameters."""
        shape = after is not None, up_to is not None
        if shape not in self._queries:
            lower, upper = (
                self._named(name) if there else None for name, there in zip("au", shape, strict=True)
            )
            self._queries[shape] = self.rows(lower, upper, bindparam("n", type_=Integer()))
        bounds = {f"a{i}": value for i, value in enumerate(after or ())}
        bounds |= {f"u{i}": value for i, value in enumerate(up_to or ())}
        return self._queries[shape], {"n": limit, **bounds}

    def _named(self, name: str) -> Key:
        return tuple(bindparam(f"{name}{i}", type_=one.type) for i, one in enumerate(self.key))

    def rows(self, after: Key | None, up_to: Key | None, limit: Any) -> Select[Any]:
        """Return the query for the next rows: key columns, tenant, for each move what :meth:`old` says."""
        columns: list[ColumnElement[Any]] = [] if self._tenant is None else [self._tenant]
        for move in self.job.moves:
            columns += self.old(move)
        if self.guards_tenant:
            columns.append(exactly(self._owner, self.dialect))
        return self._ordered(columns, after, up_to, limit)

    def boundary(self, after: Key | None, count: int) -> Select[Any]:
        """Return the query for the key that is so many rows further on."""
        return self._ordered((), after, None, 1).offset(count - 1)

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
    def tenant_type(self) -> TypeEngine[Any]:
        """The type of what each row is read with for its tenant."""
        return NullType() if self._tenant is None else self._tenant.type

    def old(self, move: Move) -> list[ColumnElement[Any]]:
        """Return what is read of a move's source: the value to open, and what tells that it is still there.

        They are one and the same wherever the stored value compares exactly.
        """
        value = self.value(move)
        return [value] if self.exact(move) else [value, self.stamp(move)]

    def value(self, move: Move) -> ColumnElement[Any]:
        """Return the source as its opener wants it: as the driver gives it, or by its plain type."""
        return type_coerce(self.column(move.source), NullType() if move.opens_sealed else move.opens)

    def exact(self, move: Move) -> bool:
        """Tell whether the value that is read can be compared in the database to the last bit."""
        if move.opens_sealed:
            return True
        stored = self.column(move.source).type
        if self.dialect.name in MYSQL or not isinstance(move.opens, LargeBinary | String):
            return False
        # PostgreSQL compares a CHAR(n) without its blanks, and gives it with them.
        comparable = isinstance(stored, LargeBinary | String) and not isinstance(stored, CHAR)
        return comparable and not _has_processors(move.opens, self.dialect)

    def stamp(self, move: Move) -> ColumnElement[Any]:
        """Return what is compared to know that a source has not been changed since it was read."""
        column = self.column(move.source)
        if move.opens_sealed or (self.exact(move) and isinstance(column.type, LargeBinary)):
            return type_coerce(column, NullType())
        return exactly(column, self.dialect)

    @property
    def guards(self) -> list[ColumnElement[Any]]:
        """What must be as it was read for a row to be changed: the stamps, and whose row it is.

        A sealed value is its tenant's whatever becomes of the row. A plain one is sealed for the tenant that
        was read: if the row is another's by now, it must not be written.
        """
        stamps = [self.stamp(move) for move in self.job.moves]
        if not self.guards_tenant:
            return stamps
        if not self.joined:
            return [*stamps, exactly(self._owner, self.dialect)]
        base = self._owner.table
        pairs = zip(self.key, base.primary_key, strict=True)
        owner = select(exactly(self._owner, self.dialect)).where(*(theirs == ours for ours, theirs in pairs))
        return [*stamps, owner.correlate(self.table).scalar_subquery()]

    @property
    def joined(self) -> bool:
        """Whether the tenant column is in another table."""
        return self._owner is not None and self._owner.table is not self.table

    @property
    def guards_tenant(self) -> bool:
        """Whether rows are read with what tells that they are still their tenant's."""
        return self._tenant is not None and any(not move.opens_sealed for move in self.job.moves)

    def _criteria(self) -> list[ColumnElement[bool]]:
        criteria = []
        if not self.job.in_place:
            todo = (
                and_(self.column(m.source).is_not(None), self.column(m.target).is_(None))
                for m in self.job.moves
            )
            criteria.append(or_(*todo))
        if self.job.tenant is not None and self._tenant is not None:
            criteria.append(rows_of(self._owner, self._tenant.type, self.job.tenant, self.dialect))
        return criteria

    def _between(self, after: Key | None, up_to: Key | None) -> list[ColumnElement[bool]]:
        bounds = [] if after is None else [_beyond(self.key, after)]
        return bounds if up_to is None else [*bounds, ~_beyond(self.key, up_to)]

    def _tenant_column(self, metadata: MetaData, connection: Connection) -> tuple[Any, Any]:
        name = self.job.tenant_column
        if name is None:
            return self.table, None
        holder, _, column = name.rpartition(".")
        if not holder:
            return self.table, self._typed(self.column(column))
        schema, _, table = holder.rpartition(".")
        base = _reflected(metadata, table, schema or None, connection)
        if len(base.primary_key) != len(self.key) or column not in base.c:
            raise ConfigurationError(f"{self.job.fullname}: its rows cannot be matched to {name}")
        pairs = zip(self.key, base.primary_key, strict=True)
        joined = self.table.join(base, and_(*(ours == theirs for ours, theirs in pairs)))
        return joined, self._typed(base.c[column])

    def _typed(self, column: Column[Any]) -> ColumnElement[Any]:
        self._owner = column
        return column if self.job.tenant_type is None else type_coerce(column, self.job.tenant_type)


def _reflected(metadata: MetaData, name: str, schema: str | None, connection: Connection) -> Table:
    try:
        return Table(name, metadata, schema=schema, autoload_with=connection, resolve_fks=False)
    except NoSuchTableError:
        pass
    raise ConfigurationError(f"there is no table {name!r} in this database")


def _beyond(columns: Sequence[Column[Any]], key: Key) -> ColumnElement[bool]:
    """Return ``(a, b) > (x, y)``, written so that every database finds it by the key's index."""
    first, value = columns[0], key[0]
    beyond: ColumnElement[bool] = first > value
    if len(columns) > 1:
        rest = and_(first == value, _beyond(columns[1:], key[1:]))
        return and_(first >= value, or_(beyond, rest))
    return beyond


def _has_processors(type_: TypeEngine[Any], dialect: Any) -> bool:
    """Tell whether what a type gives differs from what the driver gives."""
    if isinstance(type_, LargeBinary | NullType):
        return False
    # On PostgreSQL these are read by a code that comes with each result: what the driver gives is not told.
    if isinstance(type_, Float | Numeric):
        return True
    return type_.dialect_impl(dialect).result_processor(dialect, None) is not None
