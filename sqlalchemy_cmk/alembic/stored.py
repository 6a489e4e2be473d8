"""Whether a column that holds bytes holds sealed values: looked at, not opened."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import Connection, Table, column, inspect, select, table, type_coerce
from sqlalchemy.types import NullType

from sqlalchemy_cmk.sealing import NotSealed, parse_header

SAMPLE = 100


class Stored(Enum):
    """What a sample of a column's values looks like."""

    EMPTY = "empty"
    SEALED = "sealed"
    PLAIN = "plain"
    MIXED = "mixed"


def look(connection: Connection, deks: Table, name: str, column_name: str, schema: str | None) -> Stored:
    """Look at some values of a column: one is sealed if it begins with the header of a DEK that exists.

    Args:
        connection: where the rows are.
        deks: the table of DEKs.
        name: the table's name.
        column_name: the column's name.
        schema: the table's schema.
    """
    values = _sample(connection, name, column_name, schema)
    headers = [_dek_id(value) for value in values]
    wanted = {one for one in headers if one is not None}
    known: set[bytes] = set()
    if wanted and inspect(connection).has_table(deks.name):
        query = select(deks.c.id).where(deks.c.id.in_(wanted))
        known = {bytes(row[0]) for row in connection.execute(query)}
    sealed = sum(one in known for one in headers)
    if not headers:
        return Stored.EMPTY
    if sealed in (0, len(headers)):
        return Stored.SEALED if sealed else Stored.PLAIN
    return Stored.MIXED


def deterministic(connection: Connection, name: str, column_name: str, schema: str | None) -> bool:
    """Tell how the values of a sealed column are sealed, by the first byte of one."""
    values = _sample(connection, name, column_name, schema)
    return bool(values) and values[0][:1] == b"\x02"


def _sample(connection: Connection, name: str, column_name: str, schema: str | None) -> list[Any]:
    # Without a type of its own the value comes as the driver gives it, whatever was written there.
    raw: Any = column(column_name)
    query = select(type_coerce(raw, NullType())).select_from(table(name, raw, schema=schema))
    rows = connection.execute(query.where(raw.is_not(None)).limit(SAMPLE))
    return [bytes(row[0]) if isinstance(row[0], memoryview) else row[0] for row in rows]


def _dek_id(value: Any) -> bytes | None:
    try:
        return parse_header(value)[1]
    except NotSealed:
        return None
