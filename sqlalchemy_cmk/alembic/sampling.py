"""Looks at a sample of a column's values: are they sealed? Nothing is opened."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    column,
    func,
    inspect,
    literal_column,
    select,
    table,
    type_coerce,
)
from sqlalchemy.types import NullType

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.format import NotSealed, Suite, parse_header
from sqlalchemy_cmk.scope import PLATFORM_TENANT

SAMPLE_ROWS = 100
# The bytes of each value that are read: enough to be longer than what sealing adds.
_BEGINNING = max(suite.overhead for suite in Suite)


class Content(Enum):
    """What a column holds, as far as a sample shows."""

    EMPTY = "empty"
    SEALED = "sealed"
    PLAIN = "plain"
    MIXED = "mixed"


def sample(connection: Connection, deks: Table, name: str, column_name: str, schema: str | None) -> Content:
    """Look at some values of a column: one is sealed if it begins with the header of a DEK that exists.

    Args:
        connection: where the rows are.
        deks: the table of DEKs.
        name: the table's name.
        column_name: the column's name.
        schema: the table's schema.
    """
    if not _may_hold_bytes(connection, name, column_name, schema):
        raw: Any = column(column_name)
        filled = select(raw.is_not(None)).select_from(table(name, raw, schema=schema)).where(raw.is_not(None))
        return Content.PLAIN if connection.execute(filled.limit(1)).first() else Content.EMPTY
    values = _sample(connection, name, column_name, schema)
    headers = [_dek_id(value) for value in values]
    wanted = {one for one in headers if one is not None}
    known: set[bytes] = set()
    if wanted and inspect(connection).has_table(deks.name):
        query = select(deks.c.id).where(deks.c.id.in_(wanted))
        known = {bytes(row[0]) for row in connection.execute(query)}
    sealed = sum(one in known for one in headers)
    if not headers:
        return Content.EMPTY
    if sealed in (0, len(headers)):
        return Content.SEALED if sealed else Content.PLAIN
    return Content.MIXED


def is_deterministic(connection: Connection, name: str, column_name: str, schema: str | None) -> bool:
    """Return whether the values of a sealed column are deterministic, by the first byte of one."""
    values = _sample(connection, name, column_name, schema)
    return bool(values) and values[0][:1] == bytes((Suite.SIV,))


def owners(connection: Connection, deks: Table, name: ColumnName) -> set[str]:
    """Return whose values a sample of a sealed column holds: ``"row"``, ``"platform"``, both or none."""
    headers = {_dek_id(value) for value in _sample(connection, name.table, name.column, name.schema)}
    query = select(deks.c.tenant).where(deks.c.id.in_(headers - {None}))
    return {"platform" if tenant == PLATFORM_TENANT else "row" for tenant in connection.scalars(query)}


def _may_hold_bytes(connection: Connection, name: str, column_name: str, schema: str | None) -> bool:
    """Return whether sealed values can be there; what a driver cannot read is not asked for otherwise."""
    if database_of(connection.dialect).stores_bytes_in_any_column:
        return True
    columns = reflected_columns(connection, name, schema)
    return any(is_binary(one["type"]) for one in columns if one["name"] == column_name)


def _sample(connection: Connection, name: str, column_name: str, schema: str | None) -> list[Any]:
    there = reflected_columns(connection, name, schema)
    holds_bytes = any(is_binary(one["type"]) for one in there if one["name"] == column_name)
    raw: Any = column(column_name)
    shown: Any = literal_column("''")
    if holds_bytes or database_of(connection.dialect).stores_bytes_in_any_column:
        # Without a type of its own the value comes as the driver gives it, whatever was written there.
        shown = type_coerce(func.substr(raw, 1, _BEGINNING), NullType())
    query = select(shown).select_from(table(name, raw, schema=schema))
    rows = connection.execute(query.where(raw.is_not(None)).limit(SAMPLE_ROWS))
    return [bytes(row[0]) if isinstance(row[0], memoryview) else row[0] for row in rows]


def _dek_id(value: Any) -> bytes | None:
    try:
        return parse_header(value)[1]
    except NotSealed:
        return None
