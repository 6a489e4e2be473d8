"""Sealed columns that come and go with their table or column, and those that were renamed.

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

from sqlalchemy_cmk.alembic.operations import ColumnOp
from sqlalchemy_cmk.alembic.registry import Entry
from sqlalchemy_cmk.alembic.sealed_operations import (
    RegisterSealedColumnOp,
    RenameSealedOp,
    UnregisterSealedColumnOp,
)
from sqlalchemy_cmk.types import EncryptedType

log = logging.getLogger(__name__)

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class New:
    """A sealed column of a model that is not in the table of sealed columns."""

    model: Column[Any]
    entry: Entry

    @property
    def place(self) -> Place:
        """Its table and column."""
        return self.entry.table, self.entry.column


class Renames:
    """Finds which sealed columns come, go, and are the same under another name.

    Args:
        entries: the sealed columns as migrations left them.
        upgrade_ops: what Alembic has found; renames are written into it.
        created: sealed columns that Alembic is going to create.
        appeared: sealed columns that are there under a name that no migration has sealed.
        exists: tells whether a table has a column now.
    """

    def __init__(
        self,
        entries: Mapping[Place, Entry],
        upgrade_ops: UpgradeOps,
        created: list[New],
        appeared: list[New],
        exists: Callable[[Place], bool],
    ) -> None:
        self._ops = upgrade_ops
        self._dropped = {place: entries[place] for place in _dropped_places(upgrade_ops) if place in entries}
        self._gone = {
            place: entry
            for place, entry in entries.items()
            if place not in self._dropped and not exists(place)
        }
        self._created, self._appeared = created, appeared
        self._renamed: dict[Place, Entry] = _matches(self._gone, appeared)
        self._to_rename: dict[Place, Entry] = self._renamable(_matches(self._dropped, created))

    def found(self, place: Place) -> bool:
        """Whether an existing column is one that was renamed."""
        return place in self._renamed

    def operations(self) -> list[ColumnOp]:
        """Write the renames into what Alembic has found, and return what is to be registered."""
        for new in self._created:
            old = self._to_rename.get(new.place)
            if old is not None:
                self._write_rename(old, new.entry)
        before = [*self._to_rename.values(), *self._renamed.values()]
        leaving = [entry for entry in (*self._dropped.values(), *self._gone.values()) if entry not in before]
        operations: list[ColumnOp] = [_unregister(entry) for entry in (*before, *leaving)]
        for new in (*self._created, *(one for one in self._appeared if self.found(one.place))):
            old = self._to_rename.get(new.place) or self._renamed.get(new.place)
            operations.append(_register(new, old) if old else self._register_new(new))
        return operations

    def _register_new(self, new: New) -> ColumnOp:
        operation = _register(new, None)
        alike = [
            e for e in self._dropped.values() if _is_alike(e, new.entry) and e not in self._to_rename.values()
        ]
        for entry in alike:
            operation.comments.append(
                f"if {_name(entry)} was renamed, rename it here in place of dropping it, and pin "
                f"context={entry.context!r}: its values are bound to that name"
            )
            log.warning("%s: %s", _name(new.entry), operation.comments[-1])
        return operation

    def _renamable(self, matches: dict[Place, Entry]) -> dict[Place, Entry]:
        """Leave out tables that come with other columns than the one that goes: that is no rename."""
        columns = {_full(op): {c.name for c in op.to_table().columns} for op in self._table_ops()}
        return {
            place: old
            for place, old in matches.items()
            if place[0] == old.table or columns.get(place[0]) == columns.get(old.table)
        }

    def _table_ops(self) -> Iterator[CreateTableOp | DropTableOp]:
        for one in self._ops.ops:
            if isinstance(one, CreateTableOp | DropTableOp):
                yield one

    def _write_rename(self, old: Entry, new: Entry) -> None:
        if old.table == new.table:
            self._rename_column(old, new)
        else:
            self._rename_table(old.table, new.table)

    def _rename_column(self, old: Entry, new: Entry) -> None:
        for group in self._ops.ops:
            if isinstance(group, ModifyTableOps) and _full(group) == old.table:
                # The column's indexes go and come beside it.
                group.ops[:] = list(_with_rename(group, old.column, new.column))
                return

    def _rename_table(self, old: str, new: str) -> None:
        ops = self._ops.ops
        created = next((o for o in ops if isinstance(o, CreateTableOp) and _full(o) == new), None)
        dropped = next((o for o in ops if isinstance(o, DropTableOp) and _full(o) == old), None)
        if created is None or dropped is None:  # done for another of its columns
            return
        before = [one for one in ops if isinstance(one, ModifyTableOps) and _full(one) == old]
        rename = RenameSealedOp(dropped.table_name, None, created.table_name, None, created.schema)
        at = ops.index(created)
        ops[at : at + 1] = [*before, rename]
        for one in (*before, dropped):
            # The last of them: the earlier one was just put before the rename.
            del ops[len(ops) - 1 - ops[::-1].index(one)]


def _full(op: Any) -> str:
    return f"{op.schema}.{op.table_name}" if op.schema else str(op.table_name)


def _name(entry: Entry) -> str:
    return f"{entry.table}.{entry.column}"


def _is_alike(old: Entry, new: Entry) -> bool:
    other_name = (old.table == new.table) is not (old.column == new.column)
    return other_name and old.same_values == new.same_values


def _matches(old: Mapping[Place, Entry], new: list[New]) -> dict[Place, Entry]:
    """Return the pairs that are each other's only candidate."""
    pairs = [(entry, one) for entry in old.values() for one in new if _is_alike(entry, one.entry)]
    return {
        one.place: entry
        for entry, one in pairs
        if sum(entry is e for e, _ in pairs) == 1 and sum(one is n for _, n in pairs) == 1
    }


def _dropped_places(upgrade_ops: UpgradeOps) -> Iterator[Place]:
    for one in upgrade_ops.ops:
        if isinstance(one, DropTableOp):
            yield from ((_full(one), str(column.name)) for column in one.to_table().columns)
        elif isinstance(one, ModifyTableOps):
            yield from ((_full(one), str(op.column_name)) for op in one.ops if isinstance(op, DropColumnOp))


def created_columns(upgrade_ops: UpgradeOps) -> Iterator[Place]:
    """Yield the tables and columns that Alembic is going to create."""
    for one in upgrade_ops.ops:
        if isinstance(one, CreateTableOp):
            yield from ((_full(one), str(column.name)) for column in one.to_table().columns)
        elif isinstance(one, ModifyTableOps):
            yield from ((_full(one), str(op.column.name)) for op in one.ops if isinstance(op, AddColumnOp))


def _with_rename(group: ModifyTableOps, old: str, new: str) -> Iterator[MigrateOperation]:
    dropped = next(op for op in group.ops if isinstance(op, DropColumnOp) and op.column_name == old)
    column = dropped.to_column()
    existing = {"existing_type": column.type, "existing_nullable": column.nullable}
    rename = RenameSealedOp(group.table_name, old, new, existing, group.schema)
    others = [op for op in group.ops if op is not dropped and not _adds(op, new)]
    takes_away = [op for op in others if type(op).__name__.startswith("Drop")]
    yield from takes_away
    yield rename
    yield from (op for op in others if op not in takes_away)


def _adds(op: MigrateOperation, column: str) -> bool:
    return isinstance(op, AddColumnOp) and op.column.name == column


def _unregister(entry: Entry) -> ColumnOp:
    schema, _, name = entry.table.rpartition(".")
    type_, tenancy = entry.encrypted_type(), entry.tenancy
    return UnregisterSealedColumnOp(name, entry.column, type_, tenancy=tenancy, schema=schema or None)


def _register(new: New, old: Entry | None) -> ColumnOp:
    table, type_ = new.model.table, cast(EncryptedType, new.model.type)
    type_of_now = type_ if old is None else EncryptedType(type_.type_, type_.deterministic, old.context)
    schema = table.schema
    operation = RegisterSealedColumnOp(
        str(table.name), new.entry.column, type_of_now, tenancy=new.entry.tenancy, schema=schema
    )
    if old is not None:
        operation.comments.append(
            f"{_name(old)} is {_name(new.entry)} now; its values stay bound to {old.context!r}"
        )
        if new.entry.context != old.context:
            operation.comments.append(
                f"and open only if the model says so too: EncryptedType(..., context={old.context!r})"
            )
        for line in operation.comments:
            log.warning("%s", line)
    return operation
