"""PostgreSQL: dates without an end, triggers, text search, materialized views, publications."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Date, DateTime, Table, literal_column, or_
from sqlalchemy import text as sql

from sqlalchemy_cmk.databases.surroundings.base import OWN_TRIGGERS, Surroundings, has_row

_TABLE = (
    "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = :name "
    "AND CASE WHEN CAST(:schema AS text) IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = :schema END"
)
# 16 is UPDATE: https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_trigger.h
_TRIGGERS = """
    SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 16 <> 0
    AND tgrelid IN ({}) ORDER BY tgname
"""
_TEXT_SEARCH = """
    SELECT attname FROM pg_attribute WHERE atttypid = 'tsvector'::regtype AND NOT attisdropped
    AND attrelid IN ({})
"""
_MATERIALIZED = """
    SELECT DISTINCT v.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'm'
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid IN ({})
"""
_PUBLICATIONS = """
    SELECT p.pubname FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE c.oid IN ({}) ORDER BY p.pubname
"""


class PostgreSQLSurroundings(Surroundings):
    """What PostgreSQL has around a table."""

    def triggers(self, connection: Connection, table: Table) -> list[str]:
        """Return the enabled triggers of UPDATE."""
        found = _found(connection, _TRIGGERS, table)
        return [one for one in found if not one.startswith(OWN_TRIGGERS)]

    def copies(self, connection: Connection, table: Table) -> list[str]:
        """Return the triggers, columns of words, materialized views and publications."""
        sentences = super().copies(connection, table)
        sentences += [
            f"The column {name} keeps words for text search, those of plain values too: empty it or drop it."
            for name in _found(connection, _TEXT_SEARCH, table)
        ]
        sentences += [
            f"The materialized view {name} keeps what it was made of: refresh it, and VACUUM (FULL) it."
            for name in _found(connection, _MATERIALIZED, table)
        ]
        sentences += [
            f"The publication {name} has sent the table's rows to its subscribers, and sends every row that "
            "is rewritten: their copies stay until they are scrubbed too."
            for name in _found(connection, _PUBLICATIONS, table)
        ]
        return sentences

    def _odd_values(self, connection: Connection, table: Table, column: Column[Any]) -> str:
        """Return dates that Python does not know."""
        if not isinstance(column.type, Date | DateTime):
            return ""
        first: Any = literal_column("'0001-01-01'")
        last: Any = literal_column("'9999-12-31'")
        odd = has_row(connection, table, or_(column < first, column > last))
        return "infinite dates, or dates before the year 1 or at the end of 9999," if odd else ""


def _found(connection: Connection, query: str, table: Table) -> list[str]:
    """Return the names that a query finds for a table."""
    named = {"name": table.name, "schema": table.schema}
    return list(connection.execute(sql(query.format(_TABLE)), named).scalars())
