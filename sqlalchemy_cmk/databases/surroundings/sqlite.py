"""SQLite: keys of any type and without a value, STRICT tables, full-text tables."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    Table,
    column,
    func,
    select,
)
from sqlalchemy import table as from_table
from sqlalchemy import text as sql
from sqlalchemy.types import NullType

from sqlalchemy_cmk.databases.surroundings.base import OWN_TRIGGERS, Surroundings

# https://www.sqlite.org/stricttables.html
_STRICT_TYPES = {"INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"}
_KEPT_AS = {Integer: "integer", Boolean: "integer", Numeric: "integer", LargeBinary: "blob"}

_IS_STRICT = sql(
    "SELECT strict FROM pragma_table_list WHERE name = :name AND schema = coalesce(:schema, 'main')"
)
_DECLARED = sql(
    "SELECT upper(type) FROM pragma_table_xinfo(:name, coalesce(:schema, 'main')) WHERE name = :column"
)


class SQLiteSurroundings(Surroundings):
    """What SQLite has around a table."""

    key_types = (*Surroundings.key_types, NullType)

    def obstacle(self, connection: Connection, table: Table, column: str, made: str) -> str:
        """Return whether it is STRICT with another type."""
        named = _named(table)
        if connection.execute(_IS_STRICT, named).scalar():
            declared = connection.execute(_DECLARED, {**named, "column": column}).scalar()
            if made.upper() not in _STRICT_TYPES or declared not in ("ANY", made.upper()):
                return (
                    f"is a STRICT table, whose column {column} is {declared} and takes no {made}: copy it "
                    "into a table that is not STRICT, or where the column is ANY, first"
                )
        return ""

    def triggers(self, connection: Connection, table: Table) -> list[str]:
        """Return the triggers of UPDATE."""
        query = _master(table, "type = 'trigger' AND tbl_name = :name")
        found = connection.execute(query, {"name": table.name}).all()
        updates = re.compile(r"\bUPDATE\b.*?\bON\b", re.IGNORECASE | re.DOTALL)
        return sorted(
            name for name, text in found if updates.search(text) and not name.startswith(OWN_TRIGGERS)
        )

    def copies(self, connection: Connection, table: Table) -> list[str]:
        """Return the triggers, and the full-text tables of the file."""
        found = connection.execute(_master(table, "type = 'table'")).all()
        words = [
            f"The full-text table {name} keeps the words of what was indexed: delete the rows and rebuild "
            "it, or drop it."
            for name, text in found
            if re.search(r"\bUSING\s+fts\d", text or "", re.IGNORECASE)
        ]
        return [*super().copies(connection, table), *words]

    def _odd_values(self, connection: Connection, table: Table, column: Column[Any]) -> str:
        """Return what is of another type than the column: a key may hold anything, even NULL."""
        declared = connection.execute(_DECLARED, {**_named(table), "column": column.name}).scalar()
        if declared == "INTEGER" and len(table.primary_key) == 1 and self._has_row_ids(connection, table):
            return ""  # it is the row's own number
        found = set(connection.execute(select(func.typeof(column)).distinct()).scalars())
        if "null" in found:
            return "NULL"
        if isinstance(column.type, NullType) and len(found) == 1:
            found -= {"integer", "text", "blob"}
        wanted = next((name for kind, name in _KEPT_AS.items() if isinstance(column.type, kind)), "text")
        others = found - {wanted}
        return f"values of the type {', '.join(sorted(others))}, and not {wanted}," if others else ""

    def _has_row_ids(self, connection: Connection, table: Table) -> bool:
        return "WITHOUT ROWID" not in self._definition(connection, table, table.name).upper()

    def _definition(self, connection: Connection, table: Table, name: str) -> str:
        return str(connection.execute(_master(table, "name = :name"), {"name": name}).one()[1])


def _master(table: Table, criterion: str) -> Select[Any]:
    """Return the query for the names and definitions of what is in the table's schema."""
    columns: list[Any] = [column("name"), column("sql")]
    master = from_table("sqlite_master", schema=table.schema)
    return select(*columns).select_from(master).where(sql(criterion))


def _named(table: Table) -> dict[str, str | None]:
    return {"name": table.name, "schema": table.schema}
