"""Compares the models' search indexes with the database's, and keeps their columns out of the rest.

Alembic sees hidden columns and the database's own indexes of them, as it sees any. They are made, filled and
dropped by operations of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    DropIndexOp,
    DropTableOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Column, Connection, MetaData, Table, inspect

from sqlalchemy_cmk.alembic.configuration import indexes_table
from sqlalchemy_cmk.alembic.ops.sealed_indexes import CreateSealedIndexOp, DropSealedIndexOp, SealedIndexOp
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.compounds import CompoundIndex, every_index
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.grams.base import storage_name
from sqlalchemy_cmk.databases.grams.sqlite import FTS5_PARTS
from sqlalchemy_cmk.keys.indexes.catalogue import stored_in
from sqlalchemy_cmk.keys.indexes.records import StoredIndex
from sqlalchemy_cmk.search.definitions import index_of

log = logging.getLogger(__name__)

CHANGED = (
    "it is refused until it is rebuilt: to ask without a break, declare the new index beside the old one, "
    "under another name, and drop the old one when the new one is ready"
)

Names = tuple[str, str, str]


def compare_indexes(
    context: AutogenContext, connection: Connection, upgrade_ops: UpgradeOps
) -> tuple[list[SealedIndexOp], list[SealedIndexOp]]:
    """Return the operations that drop indexes and that make them; take their columns out of all others.

    Indexes of tables that are dropped or renamed go before these: the operations are put there.
    """
    table = indexes_table(context.migration_context)
    stored = stored_in(connection, table) if inspect(connection).has_table(table.name) else []
    models = list(context.table_key_to_table.values())
    declared = [one for model in models for one in every_index(model)]
    hidden = {*_hidden(declared), *(_name(one) for one in stored)}
    _keep_out(upgrade_ops, hidden)
    _keep_storage(upgrade_ops, hidden)
    drops: list[SealedIndexOp] = []
    creates: list[SealedIndexOp] = []
    known = {_identity(one) for one in declared}
    for one in declared:
        recorded = [found for found in stored if _of(found) == _identity(one)]
        living = [found for found in recorded if found.state.is_written]
        if living and any(found.fingerprint != one.fingerprint for found in living):
            log.info("Detected other options of the search index %s", one.where)
            drops.append(_drop(living[0]))
            creates.append(_create(one, CHANGED))
        elif not living and (recorded or not _has_column(context, one)):
            log.info("Detected the search index %s", one.where)
            creates.append(_create(one))
    places = {(model.schema or "", model.name) for model in models}
    gone = {_of(one): one for one in stored if one.state.is_written and one.of_table in places}
    for identity, found in gone.items():
        if identity not in known:
            log.info("Detected that the search index %s is no longer declared", found.where)
            drops.append(_drop(found))
    upgrade_ops.ops[:0] = [_drop(one) for one in _of_dropped_tables(upgrade_ops, stored)]
    return drops, creates


def _of_dropped_tables(upgrade_ops: UpgradeOps, stored: Sequence[StoredIndex]) -> list[StoredIndex]:
    """Return the indexes of tables that are going to be dropped, one hidden column of each."""
    dropped = [
        (one.schema or "", str(one.table_name)) for one in upgrade_ops.ops if isinstance(one, DropTableOp)
    ]
    found = {_of(one): one for one in stored if one.state.is_written and one.of_table in dropped}
    for one in found.values():
        log.info("Detected that the table of the search index %s is dropped", one.where)
    return list(found.values())


def _identity(one: TokenIndex) -> tuple[str, str, str, str]:
    table = one.sealed.table
    return table.schema or "", table.name, str(one.sealed.column.name), one.index.suffix


def _of(stored: StoredIndex) -> tuple[str, str, str, str]:
    return stored.schema, stored.table, stored.column, stored.name


def _hidden(declared: list[TokenIndex]) -> Iterator[Names]:
    for one in declared:
        table = one.sealed.table
        yield from ((table.schema or "", table.name, hidden) for hidden in one.keys)


def _name(stored: StoredIndex) -> Names:
    return stored.schema, stored.table, stored.hidden


def _has_column(context: AutogenContext, one: TokenIndex) -> bool:
    table, inspector = one.sealed.table, context.inspector
    if not inspector.has_table(table.name, schema=table.schema):
        return False
    return any(found["name"] in one.keys for found in inspector.get_columns(table.name, table.schema))


def _create(one: TokenIndex, comment: str = "") -> CreateSealedIndexOp:
    table: Table = one.sealed.table
    type_: Any = one.sealed.column.type
    operation = CreateSealedIndexOp(
        table.name,
        str(one.sealed.column.name),
        one.index,
        # Those of an index over several columns are found where it is noted how they are sealed.
        None if isinstance(one, CompoundIndex) else type_,
        rows=TableRows.of(table, type_),
        schema=table.schema,
    )
    operation.comments += [comment] if comment else []
    return operation


def _drop(stored: StoredIndex) -> DropSealedIndexOp:
    index = index_of(stored.definition)
    operation = DropSealedIndexOp(stored.table, stored.column, index, schema=stored.schema or None)
    if index is None:
        operation.comments.append("the table of indexes does not say which index it is: write it here")
    return operation


def _keep_out(upgrade_ops: UpgradeOps, hidden: set[Names]) -> None:
    """Take hidden columns, and the database's indexes of them, out of what Alembic has found."""
    for one in upgrade_ops.ops:
        if isinstance(one, CreateTableOp):
            one.columns = [_without_indexes(part) for part in one.columns if not _is_token_column(part)]
        if isinstance(one, ModifyTableOps):
            one.ops[:] = [part for part in one.ops if not _is_of(part, hidden)]
    upgrade_ops.ops[:] = [
        _without_hidden(one, hidden) if isinstance(one, DropTableOp) else one
        for one in upgrade_ops.ops
        if not (_is_of(one, hidden) or (isinstance(one, ModifyTableOps) and one.is_empty()))
    ]


def _keep_storage(upgrade_ops: UpgradeOps, hidden: set[Names]) -> None:
    """Keep the tables by which n-grams are searched: no model declares them, and triggers fill them."""
    kept = {(schema, storage_name(table, column)) for schema, table, column in hidden}
    # FTS5 has tables of its own, behind the name of each.
    upgrade_ops.ops[:] = [
        one
        for one in upgrade_ops.ops
        if not (
            isinstance(one, DropTableOp | ModifyTableOps)
            and any(
                (one.schema or "") == schema
                and (one.table_name == name or one.table_name in {f"{name}_{part}" for part in FTS5_PARTS})
                for schema, name in kept
            )
        )
    ]


def _without_hidden(operation: DropTableOp, hidden: set[Names]) -> DropTableOp:
    """Return the operation that drops a table and, undone, makes it without its hidden columns.

    So a table that is renamed is known again by its columns.
    """
    place = operation.schema or "", str(operation.table_name)
    if not any(one[:2] == place for one in hidden):
        return operation
    made = operation.reverse()
    made.columns = [
        one for one in made.columns if not (isinstance(one, Column) and (*place, str(one.name)) in hidden)
    ]
    return made.reverse()


def _without_indexes(part: Any) -> Any:
    """Return a part of a table that is to be made; a column as one of which a copy gets no hidden columns."""
    type_ = getattr(part, "type", None)
    if not isinstance(type_, EncryptedType) or not type_.scheme.index:
        return part
    column: Column[Any] = part.table.to_metadata(MetaData()).c[part.key]
    column.type = type_.with_options(index=())
    return column


def _is_token_column(part: Any) -> bool:
    return isinstance(getattr(part, "type", None), TokenType)


def _is_of(operation: MigrateOperation, hidden: set[Names]) -> bool:
    if isinstance(operation, AddColumnOp):
        names = [str(operation.column.name)]
    elif isinstance(operation, DropColumnOp | AlterColumnOp):
        names = [operation.column_name]
    elif isinstance(operation, CreateIndexOp | DropIndexOp):
        index = operation.to_index()
        names = [str(column.name) for column in index.columns]
    else:
        return False
    place = operation.schema or "", str(operation.table_name)
    return bool(names) and all((*place, name) in hidden for name in names)
