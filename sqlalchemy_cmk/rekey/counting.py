"""Counts the rows of sealed columns under each DEK, and those that are not sealed, in one scan of each table.

A value names its DEK in its first nine bytes; no key is opened, and no value leaves the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    MetaData,
    Table,
    case,
    func,
    inspect,
    literal,
    literal_column,
    null,
    select,
    type_coerce,
)

from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import HEADER_BYTES, SUITES
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.arguments import CONNECTION
from sqlalchemy_cmk.runtime.kinds import Kind, named, several, takes

_BEGINNINGS = [bytes((suite,)) for suite in SUITES]
_ONE: ColumnElement[int] = literal_column("1")
_LENGTH: ColumnElement[int] = literal_column(str(HEADER_BYTES))
_FETCHED = 1000


@dataclass(slots=True)
class RowCounts:
    """The rows of one sealed column.

    Attributes:
        by_dek: how many are sealed under each DEK, by its id. ``None`` stands for values that begin as sealed
            ones do and name no DEK that exists: damaged, or plaintext that happens to begin so.
        plain: how many begin otherwise: not sealed yet, or damaged.
        null: how many are NULL.
    """

    by_dek: dict[bytes | None, int] = field(default_factory=Counter)
    plain: int = 0
    null: int = 0

    @property
    def sealed(self) -> int:
        """How many are sealed under a DEK that exists."""
        return sum(count for dek_id, count in self.by_dek.items() if dek_id is not None)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return self.null + self.plain + sum(self.by_dek.values())

    @property
    def unsealed(self) -> int:
        """How many are neither NULL nor sealed under a DEK that exists."""
        return self.plain + self.by_dek.get(None, 0)


@takes(
    connection=CONNECTION,
    table=Kind((FromClause,), "a Table, such as Model.__table__"),
    columns=several("a list of columns' names"),
    known=Kind((Set, Mapping, list, tuple), "the ids of DEKs, such as keyring.dek_states()"),
    where=Kind((ColumnElement,), "a criterion, such as table.c.id < 1000").or_none,
)
def count_rows(
    connection: Connection,
    table: FromClause,
    columns: Sequence[str],
    known: Container[bytes],
    where: ColumnElement[bool] | None = None,
) -> dict[str, RowCounts]:
    """Count the rows of some columns of a table in one scan.

    Args:
        connection: to the application's database.
        table: the table, or some rows of it; its columns hold sealed values.
        columns: their names.
        known: the ids of all DEKs there are, destroyed ones too.
        where: a criterion, to count only some rows.
    """
    by_name = {str(column.name): column for column in table.columns}
    for name in columns:
        if not isinstance(name, str) or name not in by_name:
            raise ConfigurationError(f"columns: the table has no column {named(name)}")
    criteria = () if where is None else (where,)
    kinds = (_kind(by_name[name]).label(f"kind_{i}") for i, name in enumerate(columns))
    # The kinds in a query of their own: PostgreSQL holds two bound parameters for different in SELECT and in
    # GROUP BY.
    each = select(*kinds).select_from(table).where(*criteria).subquery()
    query = select(*each.columns, func.count()).group_by(*each.columns)
    counts = {name: RowCounts() for name in columns}
    # Few rows, one for each combination of DEKs; but blobs may begin like sealed values, each differently.
    for *found, count in connection.execute(query, execution_options={"yield_per": _FETCHED}):
        for name, kind in zip(columns, found, strict=True):
            _add(counts[name], kind, count, known)
    return counts


def _kind(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return NULL where the value is, no bytes where the value cannot be sealed, and else its header."""
    stored = type_coerce(column, LargeBinary())
    begins_sealed = func.substr(stored, _ONE, _ONE, type_=LargeBinary()).in_(_BEGINNINGS)
    header = func.substr(stored, _ONE, _LENGTH, type_=LargeBinary())
    plain = literal(b"", LargeBinary())
    return type_coerce(case((stored.is_(None), null()), (begins_sealed, header), else_=plain), LargeBinary())


def _add(counts: RowCounts, kind: Any, count: int, known: Container[bytes]) -> None:
    if kind is None:
        counts.null += count
    elif not kind:
        counts.plain += count
    else:
        dek_id = bytes(kind)[1:]
        counts.by_dek[dek_id if dek_id in known else None] += count


def sealed_tables(keyring: Keyring) -> Iterator[tuple[Table, list[str]]]:
    """Return the protected tables that have sealed columns, with the names of these."""
    for metadata in keyring.protected:
        for table in metadata.tables.values():
            names = [one.column.name for one in sealed_columns(table).values()]
            if names:
                yield table, names


@dataclass(frozen=True, slots=True)
class TableCount:
    """The rows of one table, counted.

    Attributes:
        table: the table.
        rows: how many it has.
        by_dek: by DEK, how many values each column has under it.
    """

    table: Table
    rows: int
    by_dek: dict[bytes, dict[str, int]]


def count_table(
    connection: Connection, table: Table, columns: Sequence[str], deks: Collection[bytes]
) -> TableCount:
    """Count the rows of a table, and those under each of some DEKs."""
    counted = count_rows(connection, table, columns, deks)
    by_dek = {
        dek_id: {name: counts.by_dek[dek_id] for name, counts in counted.items() if dek_id in counts.by_dek}
        for dek_id in deks
    }
    return TableCount(table, next(iter(counted.values())).total, by_dek)


def tables_to_search(connection: Connection, keyring: Keyring) -> Iterator[tuple[Table, list[str]]]:
    """Return every protected table with columns that may hold sealed values, and the names of these.

    Besides the sealed columns these are all others that hold bytes in the database: a migration that is under
    way keeps sealed values where no model says so.
    """
    inspector = inspect(connection)
    sealed = {table: names for table, names in sealed_tables(keyring)}
    own = keyring.database.table_names
    for metadata in keyring.protected:
        for table in metadata.tables.values():
            names = list(sealed.get(table, []))
            if table.name in own or not (names or inspector.has_table(table.name, table.schema)):
                continue  # the second is a model whose table is not made yet
            there = reflected_columns(connection, table.name, table.schema)
            names += [one["name"] for one in there if one["name"] not in names and is_binary(one["type"])]
            if names:
                columns = [Column(name, LargeBinary()) for name in names]
                yield Table(table.name, MetaData(), *columns, schema=table.schema), names
