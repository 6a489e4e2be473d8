"""The table of sealed columns, written by ``op.register_sealed_column`` and what seals and opens columns."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import delete, insert

from sqlalchemy_cmk.alembic.configuration import key_tables
from sqlalchemy_cmk.alembic.registry import Entry, Registry, row_of
from sqlalchemy_cmk.alembic.sealed_operations import RegisterSealedColumnOp, UnregisterSealedColumnOp


def registry_of(operations: Operations) -> Registry:
    """Return the table of sealed columns on the migration's connection."""
    return Registry(key_tables(operations.migration_context).columns, operations.get_bind())


def register(operations: Operations, entry: Entry) -> None:
    """Write an entry in the place of the one that is there."""
    unregister(operations, entry.table, entry.column)
    operations.execute(insert(key_tables(operations.migration_context).columns).values(**row_of(entry)))


def unregister(operations: Operations, table: str, column: str) -> None:
    """Take an entry out, if there is one."""
    t = key_tables(operations.migration_context).columns
    operations.execute(delete(t).where(t.c.table_name == table, t.c.column_name == column))


@Operations.implementation_for(RegisterSealedColumnOp)
def _register(operations: Operations, operation: RegisterSealedColumnOp) -> None:
    register(
        operations, Entry.of(operation.fullname, operation.column_name, operation.type_, operation.tenancy)
    )


@Operations.implementation_for(UnregisterSealedColumnOp)
def _unregister(operations: Operations, operation: UnregisterSealedColumnOp) -> None:
    unregister(operations, operation.fullname, operation.column_name)
