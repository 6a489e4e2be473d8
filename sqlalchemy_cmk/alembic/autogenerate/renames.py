"""Finds sealed columns that come and go with their table or column, and those that were renamed.

Values stay bound to the name under which they were sealed: after a rename they open only where the model
pins the old context. Alembic takes a rename for a drop and an addition, which would destroy them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from alembic.operations.ops import (
    AddColumnOp,
    CreateTableOp,
    DropColumnOp,
    DropTableOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Column

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.base import TableOp
from sqlalchemy_cmk.alembic.ops.register import (
    RegisterSealedColumnOp,
    RenameSealedColumnOp,
    RenameSealedTableOp,
    UnregisterSealedColumnOp,
)
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)

TableName = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class New:
    """A sealed column of a model that is not in the table of sealed columns."""

    model: Column[Any]
    entry: Entry

    @property
    def name(self) -> ColumnName:
        """The column's name."""
        return self.entry.name


class Renames:
    """Finds which sealed columns come, go, and are the same under another name.

    Args:
        entries: the sealed columns as migrations left them.
        upgrade_ops: what Alembic has found; renames are written into it.
        created: sealed columns that Alembic is going to create.
        appeared: sealed columns that are there under a name that no migration has sealed.
        exists: returns whether a table has a column now.
    """

    def __init__(
        self,
        entries: Mapping[ColumnName, Entry],
        upgrade_ops: UpgradeOps,
        created: list[New],
        appeared: list[New],
        exists: Callable[[ColumnName], bool],
    ) -> None:
        self._ops = upgrade_ops
        self._dropped = {name: entries[name] for name in _dropped_columns(upgrade_ops) if name in entries}
        self._gone = {
            name: entry for name, entry in entries.items() if name not in self._dropped and not exists(name)
        }
        self._created, self._appeared = created, appeared
        self._renamed: dict[ColumnName, Entry] = _matches(self._gone, appeared)
        self._to_rename: dict[ColumnName, Entry] = self._renamable(_matches(self._dropped, created))

    def found(self, name: ColumnName) -> bool:
        """Whether an existing column is one that was renamed."""
        return name in self._renamed

    def operations(self) -> list[TableOp]:
        """Write the renames into what Alembic has found, and return what is to be registered."""
        for new in self._created:
            old = self._to_rename.get(new.name)
            if old is not None:
                self._write_rename(old, new.entry)
        before = [*self._to_rename.values(), *self._renamed.values()]
        leaving = [entry for entry in (*self._dropped.values(), *self._gone.values()) if entry not in before]
        operations: list[TableOp] = [_unregister(entry) for entry in (*before, *leaving)]
        for new in (*self._created, *(one for one in self._appeared if self.found(one.name))):
            old = self._to_rename.get(new.name) or self._renamed.get(new.name)
            operations.append(_register(new, old) if old else self._register_new(new))
        return operations

    def _register_new(self, new: New) -> TableOp:
        operation = _register(new, None)
        alike = [
            e for e in self._dropped.values() if _is_alike(e, new.entry) and e not in self._to_rename.values()
        ]
        for entry in alike:
            operation.comments.append(
                f"if {entry.name} was renamed, rename it here in place of dropping it, and pin "
                f"context={entry.context!r}: its values are bound to that name"
            )
            log.warning("%s: %s", new.name, printable(operation.comments[-1]))
        return operation

    def _renamable(self, matches: dict[ColumnName, Entry]) -> dict[ColumnName, Entry]:
        """Leave out tables that come with other columns than the one that goes: that is not a rename."""
        columns = {_full(op): {c.name for c in op.to_table().columns} for op in self._table_ops()}
        return {
            name: old
            for name, old in matches.items()
            if name.of_table == old.name.of_table
            or columns.get(name.of_table) == columns.get(old.name.of_table)
        }

    def _table_ops(self) -> Iterator[CreateTableOp | DropTableOp]:
        for one in self._ops.ops:
            if isinstance(one, CreateTableOp | DropTableOp):
                yield one

    def _write_rename(self, old: Entry, new: Entry) -> None:
        if old.name.of_table == new.name.of_table:
            self._rename_column(old.name, new.name)
        else:
            self._rename_table(old.name.of_table, new.name.of_table)

    def _rename_column(self, old: ColumnName, new: ColumnName) -> None:
        for group in self._ops.ops:
            if isinstance(group, ModifyTableOps) and _full(group) == old.of_table:
                # The column's indexes go and come with it.
                group.ops[:] = list(_with_rename(group, old.column, new.column))
                return

    def _rename_table(self, old: TableName, new: TableName) -> None:
        ops = self._ops.ops
        created = next((o for o in ops if isinstance(o, CreateTableOp) and _full(o) == new), None)
        dropped = next((o for o in ops if isinstance(o, DropTableOp) and _full(o) == old), None)
        if created is None or dropped is None:  # done for another of its columns
            return
        before = [one for one in ops if isinstance(one, ModifyTableOps) and _full(one) == old]
        rename = RenameSealedTableOp(dropped.table_name, created.table_name, created.schema)
        at = ops.index(created)
        ops[at : at + 1] = [*before, rename]
        for one in (*before, dropped):
            # The last of them: the earlier one was just put before the rename.
            del ops[len(ops) - 1 - ops[::-1].index(one)]


def _full(op: Any) -> TableName:
    return op.schema or None, str(op.table_name)


def _is_alike(old: Entry, new: Entry) -> bool:
    same_table = old.name.of_table == new.name.of_table
    other_name = same_table is not (old.name.column == new.name.column)
    return other_name and old.same_values == new.same_values


def _matches(old: Mapping[ColumnName, Entry], new: list[New]) -> dict[ColumnName, Entry]:
    """Return the pairs that are each other's only candidate."""
    pairs = [(entry, one) for entry in old.values() for one in new if _is_alike(entry, one.entry)]
    return {
        one.name: entry
        for entry, one in pairs
        if sum(entry is e for e, _ in pairs) == 1 and sum(one is n for _, n in pairs) == 1
    }


def _dropped_columns(upgrade_ops: UpgradeOps) -> Iterator[ColumnName]:
    for one in upgrade_ops.ops:
        if isinstance(one, DropTableOp):
            yield from (ColumnName(*_full(one), str(column.name)) for column in one.to_table().columns)
        elif isinstance(one, ModifyTableOps):
            names = (str(op.column_name) for op in one.ops if isinstance(op, DropColumnOp))
            yield from (ColumnName(*_full(one), name) for name in names)


def created_columns(upgrade_ops: UpgradeOps) -> Iterator[ColumnName]:
    """Yield the columns that Alembic is going to create."""
    for one in upgrade_ops.ops:
        if isinstance(one, CreateTableOp):
            yield from (ColumnName(*_full(one), str(column.name)) for column in one.to_table().columns)
        elif isinstance(one, ModifyTableOps):
            names = (str(op.column.name) for op in one.ops if isinstance(op, AddColumnOp))
            yield from (ColumnName(*_full(one), name) for name in names)


def _with_rename(group: ModifyTableOps, old: str, new: str) -> Iterator[MigrateOperation]:
    dropped = next(op for op in group.ops if isinstance(op, DropColumnOp) and op.column_name == old)
    column = dropped.to_column()
    existing = {"existing_type": column.type, "existing_nullable": column.nullable}
    rename = RenameSealedColumnOp(group.table_name, old, new, existing, group.schema)
    others = [op for op in group.ops if op is not dropped and not _adds(op, new)]
    takes_away = [op for op in others if type(op).__name__.startswith("Drop")]
    yield from takes_away
    yield rename
    yield from (op for op in others if op not in takes_away)


def _adds(op: MigrateOperation, column: str) -> bool:
    return isinstance(op, AddColumnOp) and op.column.name == column


def _unregister(entry: Entry) -> TableOp:
    schema, table, column = entry.name
    return UnregisterSealedColumnOp(table, column, entry.encrypted_type(), rows=entry.rows, schema=schema)


def _register(new: New, old: Entry | None) -> TableOp:
    type_ = cast(EncryptedType, new.model.type)
    schema, table, column = new.name
    type_of_now = type_ if old is None else type_.with_options(context=old.context)
    rows = TableRows.of(new.model.table, type_)
    operation = RegisterSealedColumnOp(table, column, type_of_now, rows=rows, schema=schema)
    if old is not None:
        operation.comments.append(f"{old.name} is {new.name} now; its values stay bound to {old.context!r}")
        if new.entry.stored_form[0] != old.stored_form[0]:
            operation.comments.append(
                f"and open only if the model says so too: EncryptedType(..., context={old.context!r})"
            )
        for line in operation.comments:
            log.warning("%s", printable(line))
    return operation
