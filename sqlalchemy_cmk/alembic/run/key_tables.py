"""What the operations on the key tables do, also with ``--sql``."""

from __future__ import annotations

from alembic.operations import Operations
from alembic.operations.ops import CreateIndexOp, CreateTableOp, DropTableOp

from sqlalchemy_cmk.alembic.configuration import every_key_table, forget_indexes
from sqlalchemy_cmk.alembic.ops.key_tables import CreateKeyTablesOp, DropKeyTablesOp
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.keys.indexes.table import note_dropping


@Operations.implementation_for(CreateKeyTablesOp)
def _create(operations: Operations, operation: CreateKeyTablesOp) -> None:
    context = operations.migration_context
    takes_indexes = database_of(context.dialect).creates_index_if_not_exists
    for table in every_key_table(context, operation.prefix):
        made = CreateTableOp.from_table(table)
        made.if_not_exists = True
        operations.invoke(made)
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            indexed = CreateIndexOp.from_index(index)
            indexed.if_not_exists = takes_indexes or None
            operations.invoke(indexed)


@Operations.implementation_for(DropKeyTablesOp)
def _drop(operations: Operations, operation: DropKeyTablesOp) -> None:
    if not operations.migration_context.as_sql:
        note_dropping(operation, operations.get_bind())
    for table in reversed(every_key_table(operations.migration_context, operation.prefix)):
        operations.invoke(DropTableOp(table.name, if_exists=True))
    forget_indexes(operations.migration_context)
