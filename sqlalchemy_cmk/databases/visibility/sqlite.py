"""SQLite: views, virtual tables, and temporary tables in front of others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, case, func
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.visibility.base import Visibility
from sqlalchemy_cmk.databases.visibility.stored import StoredTable

_COLUMNS = sql("SELECT name FROM pragma_table_info(:name, :schema)")


class SQLiteVisibility(Visibility):
    """What a connection to SQLite sees. A table hides no rows, and statistics are kept by hand only."""

    def hidden(self, connection: Connection, table: Table) -> str:
        """Return whether it is no table of the file."""
        kind, schema, made = _found(connection, table)
        if kind == "view":
            return "is a view, which shows what is in other tables: name those"
        if made.upper().startswith("CREATE VIRTUAL"):
            return "is a virtual table, whose rows are kept elsewhere"
        if schema == "temp" and table.schema != "temp":
            return "is a temporary table of this connection, in front of the table of that name"
        return ""

    def identity(self, connection: Connection, table: Table) -> Any:
        """Return the file."""
        schema = table.schema or "main"
        files = connection.exec_driver_sql("PRAGMA database_list")
        return next((file for _, name, file in files if name == schema), None)

    def tables(self, connection: Connection, names: Collection[str]) -> list[StoredTable]:
        """Return the tables of the file, and of those that are attached; a column of any type keeps bytes."""
        quote, found = connection.dialect.identifier_preparer.quote, []
        for _, schema, _ in connection.exec_driver_sql("PRAGMA database_list").all():
            pages = connection.exec_driver_sql(f"PRAGMA {quote(schema)}.page_count").scalar_one()
            size = pages * connection.exec_driver_sql(f"PRAGMA {quote(schema)}.page_size").scalar_one()
            query = sql(f"SELECT name FROM {_catalogue(quote(schema))} WHERE type = 'table' AND sql <> ''")  # noqa: S608
            for name in connection.execute(query).scalars().all():
                columns = connection.execute(_COLUMNS, {"name": name, "schema": schema}).scalars().all()
                stored = tuple(columns)
                found.append(StoredTable(schema, name, schema == "main", stored, stored, size))
        return found

    def family(self, connection: Connection, table: Table) -> set[tuple[str, str]]:
        """Return the table."""
        return {(table.schema or "main", table.name)}

    def shown(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """Return text as it is: bytes beside it are not text."""
        return case((func.typeof(column) == "text", super().shown(column)))


def _catalogue(schema: str) -> str:
    return "sqlite_temp_master" if schema == "temp" else f"{schema}.sqlite_master"


def _found(connection: Connection, table: Table) -> tuple[str, str, str]:
    quote = connection.dialect.identifier_preparer.quote
    catalogues = {"temp": "sqlite_temp_master", "main": "sqlite_master"}
    if table.schema is not None:
        catalogues = {table.schema: f"{quote(table.schema)}.sqlite_master"}
    for schema, catalogue in catalogues.items():
        query = sql(f"SELECT type, sql FROM {catalogue} WHERE name = :name COLLATE NOCASE AND sql <> ''")  # noqa: S608
        found = connection.execute(query, {"name": table.name}).first()
        if found is not None:
            return found[0], schema, found[1]
    return "", "", ""
