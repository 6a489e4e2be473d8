"""Tables and columns as the database has them, under their own names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from sqlalchemy_cmk.databases import database_of


def reflected_table(connection: Connection, name: str, schema: str | None, metadata: MetaData) -> Table:
    """Return a table without those that its foreign keys name.

    Raises:
        NoSuchTableError: there is none.
    """
    real_name = database_of(connection.dialect).reflected_name

    def rename(_: Any, __: Any, column: ReflectedColumn) -> None:
        column["name"] = real_name(column["name"])

    listeners = [("column_reflect", rename)]
    return Table(
        name, metadata, schema=schema, autoload_with=connection, resolve_fks=False, listeners=listeners
    )


def reflected_columns(connection: Connection, name: str, schema: str | None) -> list[ReflectedColumn]:
    """Return a table's columns.

    Raises:
        NoSuchTableError: there is no such table.
    """
    real_name = database_of(connection.dialect).reflected_name
    columns = inspect(connection).get_columns(name, schema=schema)
    for column in columns:
        column["name"] = real_name(column["name"])
    return columns
