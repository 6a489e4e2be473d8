"""Reads whole stored values of a column, as many as it takes to see what they are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    Enum,
    LargeBinary,
    String,
    column,
    func,
    inspect,
    select,
    table,
    type_coerce,
)
from sqlalchemy.types import NullType

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.reflection import reflected_columns

# From either end of the table, where it has a key: the oldest rows and the newest.
ROWS = 50
MAX_LENGTH = 64 * 1024


def stored_values(connection: Connection, name: ColumnName) -> list[Any]:
    """Return some values of a column as the driver gives them; none where it holds neither text nor bytes.

    Args:
        connection: where the rows are.
        name: the column.
    """
    if not _may_hold_text(connection, name):
        return []
    raw: Any = column(name.column)
    constraint = inspect(connection).get_pk_constraint(name.table, name.schema)
    key: list[Any] = [column(one) for one in constraint["constrained_columns"]]
    rows = table(name.table, raw, *(one for one in key if one.name != name.column), schema=name.schema)
    query = select(type_coerce(raw, NullType())).select_from(rows)
    query = query.where(raw.is_not(None), func.length(raw) <= MAX_LENGTH).limit(ROWS)
    ends = [query.order_by(*key), query.order_by(*(one.desc() for one in key))] if key else [query]
    return [value for one in ends for value in connection.execute(one).scalars()]


def _may_hold_text(connection: Connection, name: ColumnName) -> bool:
    if database_of(connection.dialect).stores_bytes_in_any_column:
        return True
    types = [
        one["type"]
        for one in reflected_columns(connection, name.table, name.schema)
        if one["name"] == name.column
    ]
    return any(
        (isinstance(one, String) and not isinstance(one, Enum))
        or isinstance(one, LargeBinary)
        or is_binary(one)
        for one in types
    )
