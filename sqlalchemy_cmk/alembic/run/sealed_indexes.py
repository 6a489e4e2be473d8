"""What the operations on search indexes do: on the migration's connection, each step by itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Column, Connection, MetaData, Table, event, literal, select

from sqlalchemy_cmk.alembic.configuration import keyring_of, model_table
from sqlalchemy_cmk.alembic.conversion.offline import say
from sqlalchemy_cmk.alembic.conversion.plan import bound
from sqlalchemy_cmk.alembic.jobs import committed, run_job
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.sealed_indexes import (
    CreateSealedIndexOp,
    DropSealedIndexOp,
    RebuildSealedIndexOp,
    SealedIndexOp,
)
from sqlalchemy_cmk.alembic.registry.write import registry_of
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.compounds import CompoundSearchIndex
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.indexes import (
    IndexSpec,
    IndexWork,
    build_index,
    drop_index,
    expand_index,
    finish_rotation,
    next_purpose,
    rebuild_index,
)
from sqlalchemy_cmk.search.definitions import definition_of

_NEW = "cmk_new_tables"


@event.listens_for(Table, "after_create")
def _note_new(table: Table, connection: Any, **_: Any) -> None:
    """Note a table that a migration makes: nobody can have been writing it."""
    if isinstance(connection, Connection):
        connection.info.setdefault(_NEW, set()).add((table.schema, table.name))


@Operations.implementation_for(CreateSealedIndexOp)
def _create(operations: Operations, operation: CreateSealedIndexOp) -> None:
    _do(operations, operation, expand_index if operation.phase == "expand" else build_index)


@Operations.implementation_for(DropSealedIndexOp)
def _drop(operations: Operations, operation: DropSealedIndexOp) -> None:
    _do(operations, operation, drop_index)


@Operations.implementation_for(RebuildSealedIndexOp)
def _rebuild(operations: Operations, operation: RebuildSealedIndexOp) -> None:
    def rebuild(work: IndexWork, spec: IndexSpec) -> None:
        if operation.phase in ("all", "fill"):
            purpose: Purpose = next_purpose(work, spec)
            rebuild_index(work, spec, purpose)
        if operation.phase in ("all", "finish"):
            finish_rotation(work, spec)

    _do(operations, operation, rebuild)


def _do(operations: Operations, operation: SealedIndexOp, step: Any) -> None:
    context = operations.migration_context
    if context.as_sql:
        say(operations, f"{operation.where}: a search index needs a live database and keys: run this online")
        return
    spec = _spec(operations, operation)
    with committed(operations):
        connection = operations.get_bind()
        is_new = (spec.schema, spec.table) in connection.info.get(_NEW, ()) and _is_empty(connection, spec)
        run = partial(run_job, operations)
        step(IndexWork(keyring_of(context), connection, run, is_new=is_new), spec)


def _is_empty(connection: Connection, spec: IndexSpec) -> bool:
    table = Table(spec.table, MetaData(), Column(spec.column), schema=spec.schema)
    return connection.execute(select(literal(1)).select_from(table).limit(1)).first() is None


def _spec(operations: Operations, operation: SealedIndexOp) -> IndexSpec:
    if operation.index is None:
        raise ConfigurationError(f"{operation.where}: the migration does not say which index it is")
    type_, rows = _column(operations, operation)
    type_ = bound(type_.with_options(index=()), operation.name)
    others = []
    if isinstance(operation.index, CompoundSearchIndex):
        for name in operation.index.columns[1:]:
            beside = ColumnName(operation.schema, operation.table_name, name)
            found, _ = _noted(operations, beside)
            others.append((name, bound(found.with_options(index=()), beside)))
    rows = rows.completed(operations.migration_context, operation.schema, operation.table_name, type_)
    return IndexSpec(
        operation.schema,
        operation.table_name,
        operation.column_name,
        type_,
        operation.index,
        definition_of(operation.index),
        rows.tenant_column,
        rows.tenant_type,
        rows.row_columns,
        tuple(others),
    )


def _column(operations: Operations, operation: SealedIndexOp) -> tuple[EncryptedType, TableRows]:
    """Return a column's sealed type: as the migration, the table of sealed columns or a model says it."""
    if operation.existing_type is not None:
        return operation.existing_type, operation.rows
    return _noted(operations, operation.name)


def _noted(operations: Operations, name: ColumnName) -> tuple[EncryptedType, TableRows]:
    """Return how a column is sealed, as the table of sealed columns or a model says it."""
    entry = registry_of(operations).entries().get(name)
    noted = None if entry is None else entry.encrypted_type()
    if entry is not None and noted is not None:
        return noted, entry.rows
    model = model_table(operations.migration_context, name.schema, name.table)
    for one in () if model is None else sealed_columns(model).values():
        type_: Any = one.column.type
        if one.column.name == name.column and model is not None:
            return type_, TableRows.of(model, type_)
    raise ConfigurationError(
        f"{name}: no such sealed column is known here: give existing_type and tenant_column"
    )
