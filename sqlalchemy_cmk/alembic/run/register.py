"""What the operations on the table of sealed columns do, and those that rename."""

from __future__ import annotations

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.ops.register import (
    RegisterSealedColumnOp,
    RenameSealedColumnOp,
    RenameSealedTableOp,
    UnregisterSealedColumnOp,
)
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.registry.write import register, unregister


@Operations.implementation_for(RegisterSealedColumnOp)
def _register(operations: Operations, operation: RegisterSealedColumnOp) -> None:
    context, type_ = operations.migration_context, operation.type_
    rows = operation.rows.completed(context, operation.schema, operation.table_name, type_)
    register(operations, Entry.of(operation.name, type_, rows))


@Operations.implementation_for(UnregisterSealedColumnOp)
def _unregister(operations: Operations, operation: UnregisterSealedColumnOp) -> None:
    unregister(operations, operation.name)


@Operations.implementation_for(RenameSealedColumnOp)
def _rename_column(operations: Operations, operation: RenameSealedColumnOp) -> None:
    operations.alter_column(
        operation.table_name,
        operation.column_name,
        new_column_name=operation.new_name,
        schema=operation.schema,
        **operation.existing,
    )


@Operations.implementation_for(RenameSealedTableOp)
def _rename_table(operations: Operations, operation: RenameSealedTableOp) -> None:
    operations.rename_table(operation.table_name, operation.new_name, schema=operation.schema)
