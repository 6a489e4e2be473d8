"""Reflected tables that are kept, for all tables that SQLite describes in the same words.

To reflect a table, and to compile each statement on it again, takes longer than most of what a step does.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import Connection, MetaData, Table, create_engine

from sqlalchemy_cmk.databases.reflection import reflected_table

_DEFINITION = (
    "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('table', 'index') AND sql IS NOT NULL "
    "ORDER BY type DESC, name"
)


def kept_table(connection: Connection, name: str, schema: str | None, metadata: MetaData) -> Table:
    """Do what `reflected_table` does, once for each definition; other databases than SQLite have none."""
    if connection.dialect.name == "sqlite":
        definition = connection.exec_driver_sql(_DEFINITION, (name,)).scalars().all()
        if definition and schema is None:
            return _table_of(name, tuple(definition))
    return reflected_table(connection, name, schema, metadata)


@cache
def _table_of(name: str, definition: tuple[str, ...]) -> Table:
    """Reflect a table from a database of its own: a seed sends the same statements either way."""
    engine = create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            for statement in definition:
                connection.exec_driver_sql(statement)
            return reflected_table(connection, name, None, MetaData())
    finally:
        engine.dispose()
