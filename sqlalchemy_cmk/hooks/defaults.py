"""Python defaults that sealing depends on, and those that read the row: they get its plain values.

SQLAlchemy calls defaults later, when ``context.get_current_parameters()`` has sealed values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import Connection, Dialect, Engine, Table

from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.values import MISSING, Row, known_value


def depended_on(table: Table) -> set[str]:
    """Return the keys of the columns that sealing a row depends on: sealed ones, its tenant, its identity."""
    sealed, source = sealed_columns(table), tenant_source(table)
    needed = set(sealed)
    if any(column.scheme.row_bound for column in sealed.values()):
        needed.update(identity_of(table).keys)
    if source is not None and source.table is table:
        needed.add(str(source.column.key))
    return needed


def fills(table: Table, *, insert: bool) -> bool:
    """Return whether rows of a table are given values by :func:`fill_defaults`."""
    return bool(_defaults(table, {}, depended_on(table), insert))


def fill_defaults(
    connection: Connection,
    table: Table,
    rows: list[Row],
    embedded: Mapping[str, Any],
    needed: set[str],
    *,
    insert: bool,
    params: Row | None = None,
) -> None:
    """Give rows the values of Python defaults, in the order of the columns, as SQLAlchemy would.

    Args:
        connection: the statement's.
        table: the rows' table.
        rows: the parameters of each row, not sealed yet; changed in place.
        embedded: what the statement itself writes, by column key.
        needed: keys of the columns whose values sealing depends on. Others are left to SQLAlchemy, unless a
            default of the table reads the row.
        insert: whether ``default`` counts, as for an INSERT, or ``onupdate``.
        params: where parameters given by ``bindparam("name")`` are; ``None`` for in the row itself.
    """
    for key, default in _defaults(table, embedded, needed, insert).items():
        for row in rows:
            if key not in row:
                row[key] = (
                    default.arg
                    if default.is_scalar
                    else default.arg(RowContext(connection, row, embedded, params, insert))
                )


def _defaults(table: Table, embedded: Mapping[str, Any], needed: set[str], insert: bool) -> dict[str, Any]:
    own = {
        str(column.key): default
        for column in table.columns
        if (default := column.default if insert else column.onupdate) is not None
        and (default.is_scalar or default.is_callable)
        and column.key not in embedded
    }
    # One that reads the row may read what the others before it gave.
    every = any(map(private.takes_context, own.values()))
    return own if every else {key: default for key, default in own.items() if key in needed}


class RowContext:
    """What a default gets in place of SQLAlchemy's execution context, which does not exist yet.

    Args:
        connection: the statement's.
        row: the row's values by column key.
        embedded: what the statement itself writes, by column key.
        params: where its bound parameters have their values; ``None`` for in the row itself.
        insert: whether the statement is an INSERT.

    Attributes:
        connection: the statement's connection.
        isinsert: whether the statement is an INSERT.
        isupdate: whether it is an UPDATE.
    """

    def __init__(
        self, connection: Connection, row: Row, embedded: Mapping[str, Any], params: Row | None, insert: bool
    ) -> None:
        self._row = row
        self._embedded = embedded
        self._params = row if params is None else params
        self.connection = connection
        self.isinsert = insert
        self.isupdate = not insert

    @property
    def root_connection(self) -> Connection:
        """The statement's connection."""
        return self.connection

    @property
    def engine(self) -> Engine:
        """The connection's engine."""
        return self.connection.engine

    @property
    def dialect(self) -> Dialect:
        """The connection's dialect."""
        return self.connection.dialect

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Row:
        """Return the row's plain values by column key, without those that the database computes."""
        known = {
            key: known_value(value, self._params)
            for key, value in (*self._embedded.items(), *self._row.items())
        }
        return {key: value for key, value in known.items() if value is not MISSING}

    @property
    def current_parameters(self) -> Row:
        """The row's plain values by column key."""
        return self.get_current_parameters()

    def __getattr__(self, name: str) -> NoReturn:
        raise UnsupportedOperation(
            f"a default in a table with sealed columns can use context.get_current_parameters() and "
            f"context.connection, not context.{name}: set the value in Python, in __init__ or before the "
            "flush"
        )
