"""Writes the table of sealed columns."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import delete, insert

from sqlalchemy_cmk.alembic.configuration import registry_table
from sqlalchemy_cmk.alembic.names import ColumnName, refuse_doubled_percents
from sqlalchemy_cmk.alembic.registry.read import Entry, Registry, key_of, scheme_of


def registry_of(operations: Operations) -> Registry:
    """Return the table of sealed columns on the migration's connection."""
    return Registry(registry_table(operations.migration_context), operations.get_bind())


def register(operations: Operations, entry: Entry) -> None:
    """Write an entry in the place of the one that is there."""
    refuse_doubled_percents(operations.migration_context, entry.names)
    note(operations, entry.name, scheme_of(entry))


def unregister(operations: Operations, name: ColumnName) -> None:
    """Take a column's entry out, if there is one."""
    note(operations, name, None)


def note(operations: Operations, name: ColumnName, scheme: str | None) -> None:
    """Write how a column is sealed, as :func:`~.read.scheme_of` gives it; ``None`` where it is plain."""
    refuse_doubled_percents(operations.migration_context, filter(None, name))
    table, key = registry_table(operations.migration_context), key_of(name)
    operations.execute(delete(table).where(*(table.c[part] == value for part, value in key.items())))
    if scheme is not None:
        operations.execute(insert(table).values(**key, scheme=scheme))
