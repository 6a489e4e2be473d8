"""Which column a name in SQL text means. See :class:`Scope`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table

from sqlalchemy_cmk.sql.columns import Outputs, Source, Star, Value
from sqlalchemy_cmk.sql.refusals import refuse_text
from sqlalchemy_cmk.sql.schema import Schema


class Scope:
    """The sources of one query, inside those of the queries around it.

    Args:
        schema: the tables.
        outer: the scope around it.
    """

    def __init__(self, schema: Schema, outer: Scope | None) -> None:
        self._schema = schema
        self.outer = outer
        self.sources: dict[str, Source] = {}

    def add(self, source: Source) -> None:
        """Add what the query selects from.

        Raises:
            UnsupportedOperation: another has its name.
        """
        if source.name in self.sources or not source.name:
            if source.is_protected or (self.sources.get(source.name) or source).is_protected:
                refuse_text("two tables of a query have the same name, or none: give each an alias")
            return
        self.sources[source.name] = source

    def outputs_of(self, name: str) -> Outputs:
        """Return the columns of one source, for ``name.*``."""
        found = self.sources.get(name)
        if found is None:
            refuse_text(f"{name}.* is of no table of its query")
        return found.outputs

    def resolve(self, node: Any) -> Value | None:
        """Return the column of a row that a name means; ``None`` if it means something else.

        Args:
            node: sqlglot's column.

        Raises:
            UnsupportedOperation: it may mean a sealed column, or not; or a whole row.
        """
        name, qualifier = node.name.casefold(), node.table.casefold()
        known, value = self._qualified(qualifier, name) if qualifier else self._plain(name)
        if not known and name in self._schema.sealed_names:
            refuse_text(f"it cannot be told which column {name} is of")
        return value

    def has_table(self, value: Value, table: Table) -> bool:
        """Return whether a query, or one around it, names a table itself whose row a value is of."""
        own = any(
            one.table is table and any(isinstance(o, Star) and o.path == value.path for o in one.outputs)
            for one in self.sources.values()
        )
        return own or (self.outer is not None and self.outer.has_table(value, table))

    def _qualified(self, qualifier: str, name: str) -> tuple[bool, Value | None]:
        source = self.sources.get(qualifier)
        if source is not None:
            return source.find(name)
        return (False, None) if self.outer is None else self.outer._qualified(qualifier, name)

    def _plain(self, name: str) -> tuple[bool, Value | None]:
        found = [value for one in self.sources.values() for has, value in (one.find(name),) if has]
        if len(found) > 1:
            if any(value is not None and value.sealed is not None for value in found):
                refuse_text(f"several tables of a query have a column {name}: name its table")
            return True, found[0] if len(set(found)) == 1 else None
        if found:
            return True, found[0]
        own = self.sources.get(name)
        if own is not None and own.is_protected:
            refuse_text(f"{name} is a whole row: name its columns")
        if self.outer is None:
            return False, None
        known, value = self.outer._plain(name)
        hidden = any(one.is_unknown for one in self.sources.values())
        if hidden and value is not None and value.sealed is not None:
            refuse_text(f"it cannot be told which column {name} is of")
        return known, value
