"""Views and other names by which rows of a table are reached. See :func:`derived_tables`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

_QUERIES = {
    "postgresql": (
        "SELECT schemaname, viewname, definition FROM pg_catalog.pg_views "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') "
        "UNION ALL SELECT schemaname, matviewname, definition FROM pg_catalog.pg_matviews "
        # Partitions, and tables that inherit.
        "UNION ALL SELECT n.nspname, c.relname, p.relname FROM pg_catalog.pg_inherits i "
        "JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f')"
    ),
    "mysql": (
        "SELECT table_schema, table_name, view_definition FROM information_schema.views "
        "WHERE table_schema NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')"
    ),
}
_QUERIES["mariadb"] = _QUERIES["mysql"]


@dataclass(frozen=True, slots=True)
class Derived:
    """A view, or a partition.

    Attributes:
        schema: its schema; empty for those of this connection alone.
        name: its name.
        definition: what it selects from; ``None`` if this is not shown.
    """

    schema: str
    name: str
    definition: str | None


def derived_tables(connection: Connection) -> list[Derived]:
    """Return the views of all schemas that a connection sees, and the partitions of tables."""
    found: list[Derived] = []
    for query in _queries(connection):
        for schema, name, definition in connection.execute(text(query)):
            own = schema == "temp" or str(schema).startswith("pg_temp_")
            found.append(Derived("" if own else str(schema), str(name), _read(definition)))
    return found


def _queries(connection: Connection) -> list[str]:
    name = connection.dialect.name
    if name in _QUERIES:
        return [_QUERIES[name]]
    quote = connection.dialect.identifier_preparer.quote_identifier
    schemas = [str(row[1]) for row in connection.execute(text("PRAGMA database_list"))]
    return [
        f"SELECT {_literal(one)}, name, sql FROM {quote(one)}.sqlite_master WHERE type = 'view'".replace(  # noqa: S608
            ":", r"\:"
        )
        for one in dict.fromkeys([*schemas, "temp"])
    ]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _read(definition: object) -> str | None:
    if isinstance(definition, bytes | bytearray):
        return definition.decode(errors="replace") or None
    return str(definition or "") or None
