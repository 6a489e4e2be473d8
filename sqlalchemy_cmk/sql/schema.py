"""The tables that SQL text may name, as the application declares them. See :class:`Schema`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from sqlalchemy import Column, MetaData, Table

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.sql.refusals import refuse_text

# The names that a database gives to the schema of tables without one.
_OWN_SCHEMAS = frozenset({"", "public", "main"})

# A statement that begins so may do anything, whatever it names; and a name that is not what it looks like.
_BEFORE = r"(?:\s|\(|--[^\n]*(?:\n|$)|\#[^\n]*(?:\n|$)|/\*(?s:.*?)\*/)*"
_ANYTHING = rf"(?:^|;){_BEFORE}(?:CALL|DO|EXEC|EXECUTE)\b|\bU&['\"]"


class Schema:
    """Finds tables by the names that SQL text has for them.

    Args:
        metadata: where they are declared.
        databases: further names of the connection's own database, which MariaDB writes before a table's.
        views: the schemas and names of views over protected tables, which are refused.
    """

    def __init__(
        self, metadata: MetaData, databases: Iterable[str] = (), views: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._metadata = metadata
        self._databases = tuple(databases)
        self._all_views = tuple(views)
        self._views: dict[str, set[str]] = {}
        for schema, name in self._all_views:
            self._views.setdefault(name.casefold(), set()).add(schema.casefold())
        self._own = _OWN_SCHEMAS | {one.casefold() for one in self._databases}
        self._tables: dict[str, list[Table]] = {}
        for table in metadata.tables.values():
            self._tables.setdefault(table.name.casefold(), []).append(table)
        self._count = len(metadata.tables)
        names = [name for name, tables in self._tables.items() if any(map(is_protected, tables))]
        names += sorted(self._views)
        named = rf"|(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)" if names else ""
        self._named = re.compile(_ANYTHING + named, re.IGNORECASE)

    def current(self) -> Schema:
        """Return this schema, or one with the tables that were declared since."""
        if len(self._metadata.tables) == self._count:
            return self
        return Schema(self._metadata, self._databases, self._all_views)

    def may_concern(self, statement: str) -> bool:
        """Return whether a text may name a protected table; cheap, and never wrongly ``False``."""
        return self._named.search(statement) is not None

    @cached_property
    def sealed_names(self) -> frozenset[str]:
        """The names of all sealed and hidden columns, without their case."""
        every = [table for tables in self._tables.values() for table in tables]
        return frozenset(one.name.casefold() for table in every for one in table.c if is_secret(one))

    def find(self, name: str, schema: str) -> Table | None:
        """Return the table of a name; ``None`` if none is declared.

        Raises:
            UnsupportedOperation: a protected table has this name, in another schema; or it may be a view over
                one.
        """
        tables = self._tables.get(name.casefold(), [])
        wanted = schema.casefold()
        self._refuse_view(name, wanted, tables)
        exact = [one for one in tables if (one.schema or "").casefold() == wanted]
        if not exact and wanted in self._own:
            exact = [one for one in tables if one.schema is None]
        if not exact and any(map(is_protected, tables)):
            refuse_text(
                f"{schema}.{name} may be the protected table {tables[0].fullname}, or not: "
                "write its schema as it is declared"
            )
        return exact[0] if exact else None

    def _refuse_view(self, name: str, schema: str, tables: list[Table]) -> None:
        schemas = self._views.get(name.casefold(), set())
        if not schemas or any(map(is_protected, tables)):
            return
        if schema:
            is_view = schema in schemas or bool(schema in self._own and schemas & self._own)
        else:
            is_view = not tables or bool(schemas & self._own)
        if is_view:
            refuse_text(
                f"{name} is a view over a table with sealed columns, or a part of one: name the table"
            )


def is_protected(table: Table) -> bool:
    """Return whether a table has sealed columns, or the tenant column of rows that have."""
    return bool(sealed_columns(table)) or tenant_source(table) is not None


def is_secret(column: Column[Any]) -> bool:
    """Return whether a column is sealed, or holds the tokens of an index."""
    return isinstance(column.type, TokenType) or sealed_of(column) is not None


def sealed_of(column: Column[Any] | None) -> SealedColumn | None:
    """Return what a sealed column is; ``None`` for others."""
    found = None if column is None else getattr(column.type, "sealed_column", None)
    return found if isinstance(found, SealedColumn) else None


def columns_by_name(table: Table) -> Iterator[tuple[str, Column[Any]]]:
    """Yield the columns of a table with their names in the database, without their case."""
    for column in table.c:
        yield str(column.name).casefold(), column
