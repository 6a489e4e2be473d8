"""Writes the table of sealed columns."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import ColumnElement, delete, insert, literal, select

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


def note(
    operations: Operations, name: ColumnName, scheme: str | None, only_if: ColumnElement[bool] | None = None
) -> None:
    """Write how a column is sealed, if a condition holds where the statements run.

    Args:
        operations: Alembic's.
        name: the column.
        scheme: as :func:`~.read.scheme_of` gives it; ``None`` if the column is plain.
        only_if: the condition; without one it is written.
    """
    refuse_doubled_percents(operations.migration_context, filter(None, name))
    table, key = registry_table(operations.migration_context), key_of(name)
    conditions = [] if only_if is None else [only_if]
    same = (table.c[part] == value for part, value in key.items())
    operations.execute(delete(table).where(*same, *conditions))
    if scheme is not None:
        row = {**key, "scheme": scheme}
        values = select(*(literal(value, table.c[part].type) for part, value in row.items()))
        operations.execute(insert(table).from_select(list(row), values.where(*conditions)))
