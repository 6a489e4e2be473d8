"""Adapts what Alembic itself has found to a migration that seals columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from alembic.operations.ops import (
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Dialect

from sqlalchemy_cmk.alembic.conversion.plan import is_shadow
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.base import TableOp
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp
from sqlalchemy_cmk.alembic.ops.key_tables import CreateKeyTablesOp
from sqlalchemy_cmk.alembic.rows import PLATFORM, TableRows
from sqlalchemy_cmk.columns.column import TENANT_INFO_KEY
from sqlalchemy_cmk.columns.compounds import INDEXES_INFO_KEY
from sqlalchemy_cmk.columns.tenants import ROW_INFO_KEY
from sqlalchemy_cmk.databases import database_of


def drop_info(upgrade_ops: UpgradeOps) -> None:
    """Keep what models note in a table's ``info`` out of the migration, which would render it."""
    for one in upgrade_ops.ops:
        if isinstance(one, CreateTableOp):
            for key in (TENANT_INFO_KEY, ROW_INFO_KEY, INDEXES_INFO_KEY):
                one.info.pop(key, None)


def join_key_tables(upgrade_ops: UpgradeOps, names: Set[str], prefix: str) -> None:
    """Write one operation where all key tables are to be made; where only some are missing, one for each.

    Its reverse drops all of them.

    Args:
        upgrade_ops: what was found.
        names: of the key tables.
        prefix: of these names.
    """
    tables = [one for one in upgrade_ops.ops if isinstance(one, CreateTableOp) and one.schema is None]
    if not names <= {one.table_name for one in tables}:
        return
    first = next(one for one in tables if one.table_name in names)
    upgrade_ops.ops[upgrade_ops.ops.index(first)] = CreateKeyTablesOp(prefix)
    upgrade_ops.ops[:] = [one for one in upgrade_ops.ops if getattr(one, "table_name", None) not in names]


def keep_shadows(upgrade_ops: UpgradeOps) -> None:
    """Leave alone what the phases of a conversion that is not finished have put into the database."""
    for group in upgrade_ops.ops:
        if isinstance(group, ModifyTableOps):
            group.ops[:] = [
                one for one in group.ops if not (isinstance(one, DropColumnOp) and is_shadow(one.column_name))
            ]
    upgrade_ops.ops[:] = [
        one for one in upgrade_ops.ops if not (isinstance(one, ModifyTableOps) and one.is_empty())
    ]


def drop_last(upgrade_ops: UpgradeOps, found: Iterable[TableOp]) -> None:
    """Drop a tenant column, or one that identifies rows, only after the operations that read it.

    Args:
        upgrade_ops: the migration.
        found: the operations on sealed columns in it.
    """
    read = set[ColumnName]()
    for one in found:
        rows: TableRows = (
            one.options.rows if isinstance(one, ConversionOp) else getattr(one, "rows", PLATFORM)
        )
        read |= {ColumnName(one.schema, one.table_name, name) for name in rows.names}
    last: list[MigrateOperation] = []
    for group in [one for one in upgrade_ops.ops if isinstance(one, ModifyTableOps)]:
        drops = [one for one in group.ops if isinstance(one, DropColumnOp) and _name(one) in read]
        group.ops[:] = [one for one in group.ops if one not in drops]
        if drops:
            last.append(ModifyTableOps(group.table_name, drops, schema=group.schema))
    upgrade_ops.ops[:] = [
        one for one in upgrade_ops.ops if not (isinstance(one, ModifyTableOps) and one.is_empty())
    ]
    upgrade_ops.ops.extend(last)


def _name(drop: DropColumnOp) -> ColumnName:
    return ColumnName(drop.schema, drop.table_name, drop.column_name)


def make_repeatable(upgrade_ops: UpgradeOps, dialect: Dialect, *, in_batches: bool) -> None:
    """Make what comes before a conversion repeatable, as far as the database and Alembic allow.

    A conversion commits what the migration has done before it: when it is killed, the whole migration is run
    again.

    Args:
        upgrade_ops: what was found.
        dialect: of the database.
        in_batches: ``render_as_batch``: a batch that copies its table takes no ``if_not_exists`` of an index.
    """
    takes_indexes = database_of(dialect).creates_index_if_not_exists
    for group in upgrade_ops.ops:
        inside = list(flat([group]))
        alone = all(isinstance(one, CreateIndexOp) for one in inside)
        for one in inside:
            if isinstance(one, CreateTableOp) or (
                isinstance(one, CreateIndexOp) and takes_indexes and (alone or not in_batches)
            ):
                one.if_not_exists = True


def flat(operations: Iterable[MigrateOperation]) -> Iterator[MigrateOperation]:
    """Yield operations, and those inside of what groups a table's."""
    for one in operations:
        if isinstance(one, ModifyTableOps):
            yield from one.ops
        else:
            yield one
