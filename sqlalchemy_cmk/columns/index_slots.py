"""Which hidden columns of an index a statement writes, and which one it asks: as the database has them now.

An index has a second hidden column while its tokens are made under other DEKs. Which of the two is asked is
decided where the SQL is made: it is the same for both but for the column's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, inspect

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.compounds import compounds_with
from sqlalchemy_cmk.columns.token_columns import TokenIndex, token_indexes
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.keys.indexes.records import IndexState, IndexView, StoredIndex
from sqlalchemy_cmk.keys.model import Purpose


@dataclass(frozen=True, slots=True)
class Slot:
    """One hidden column of an index.

    Attributes:
        index: the index.
        number: which of its two it is, 0 or 1.
        purpose: the purpose of the DEKs under which its tokens are.
    """

    index: TokenIndex
    number: int
    purpose: Purpose

    @property
    def key(self) -> str:
        """The key and the name of the hidden column."""
        return self.index.keys[self.number]


@dataclass(frozen=True, slots=True)
class Slots:
    """The hidden columns of an index, as a process sees them.

    Attributes:
        written: those into which tokens are written.
        asked: the one that is asked; ``None`` if none can be.
        unfinished: what the database says of an index that cannot be asked.
        elsewhere: of an index that nobody has recorded, what is recorded of tables that may have had its name
            before, and were not ready then.
    """

    written: tuple[Slot, ...]
    asked: Slot | None
    unfinished: StoredIndex | None = None
    elsewhere: tuple[StoredIndex, ...] = ()


def slots_of(index: TokenIndex, view: IndexView) -> Slots:
    """Return the hidden columns of an index. What nobody has recorded was made together with its table.

    Raises:
        ConfigurationError: the tokens that are there were made by an index with other options.
    """
    found: Slots | None = view.resolved.get(index)
    if found is None:
        found = view.resolved[index] = _slots(index, view)
    return found


def keys_to_write(column: SealedColumn, owner: str, view: IndexView) -> set[tuple[str, Purpose]]:
    """Return whose DEKs of which purposes a value of an owner is written with: sealed, and its tokens."""
    table = column.column.table
    indexes = token_indexes(table).get(str(column.column.key), ()) if isinstance(table, Table) else ()
    every = (*indexes, *compounds_with(column))
    slots = (slot for one in every for slot in slots_of(one, view).written)
    return {(owner, column.scheme.purpose), *((one.index.owner(owner), one.purpose) for one in slots)}


def unknown_index(column: SealedColumn, known: Collection[str], view: IndexView) -> StoredIndex | None:
    """Return an index of a sealed column that a process does not know and whose tokens it would leave out.

    Args:
        column: the sealed column.
        known: the names of the hidden columns that the process knows.
        view: what it sees in the database.
    """
    for one in view.of(column.table.schema, column.table.name):
        if column.column.name in one.columns and one.state.shuts_out and one.hidden not in known:
            return one
    return None


def refuse_unfinished(slots: Slots) -> None:
    """Refuse a question to an index that cannot be asked.

    Raises:
        UnsupportedOperation: it cannot.
    """
    stored = slots.unfinished
    if stored is None:
        return
    if stored.state in (IndexState.BUILDING, IndexState.FILLING):
        raise UnsupportedOperation(
            f"{stored.where}: the index {stored.name!r} is being built, and not every row has its token yet: "
            "run the migration again, or cmk rekey indexes --build; cmk rekey report shows how far it is"
        )
    raise UnsupportedOperation(
        f"{stored.where}: the index {stored.name!r} was dropped: take it out of the model, or make it again "
        "with op.create_sealed_index"
    )


def refuse_renamed(index: TokenIndex, slots: Slots, connection: Connection) -> None:
    """Refuse a question to an index whose table was renamed while its tokens were not all there.

    Raises:
        UnsupportedOperation: it was.
    """
    for one in slots.elsewhere:
        if not inspect(connection).has_table(one.table, schema=one.schema or None):
            raise UnsupportedOperation(
                f"{index.where}: the table seems to be {one.table!r} under another name, whose index "
                f"{one.name!r} was {one.state} when it was renamed, so that rows would be missing: make the "
                "index again with op.create_sealed_index"
            )


def _slots(index: TokenIndex, view: IndexView) -> Slots:
    table = index.sealed.table
    recorded = [one for one in view.of(table.schema, table.name) if one.hidden in index.keys]
    if not recorded:
        first = Slot(index, 0, Purpose.SEARCH)
        return Slots((first,), first, elsewhere=tuple(_elsewhere(index, view)))
    written = [one for one in recorded if one.state.is_written]
    for one in written:
        if one.fingerprint != index.fingerprint:
            raise ConfigurationError(
                f"{one.where} holds tokens of an index {one.name!r} with other options than the model's, or "
                "of a column with another type, context or owner: declare the new index beside the old one, "
                "under another name, and drop the old one when the new one is ready; or run the migration "
                "that alembic revision --autogenerate writes"
            )
    slots = {one.hidden: Slot(index, index.keys.index(one.hidden), one.purpose) for one in written}
    asked = _asked(written, view)
    unfinished = None if asked is not None else min(recorded, key=lambda one: one.state is IndexState.DROPPED)
    return Slots(tuple(slots.values()), None if asked is None else slots[asked.hidden], unfinished)


def _elsewhere(index: TokenIndex, view: IndexView) -> Iterator[StoredIndex]:
    """Yield what is recorded of other tables that may be the index's own table before it was renamed.

    The values are bound to the old name then, and so are the tokens: they have the same fingerprint.
    """
    models = index.sealed.table.metadata.tables
    for one in (one for of_table in view.by_table.values() for one in of_table):
        is_model = (f"{one.schema}.{one.table}" if one.schema else one.table) in models
        as_made = one.state is IndexState.READY and one.purpose is Purpose.SEARCH
        if one.hidden == index.key and one.fingerprint == index.fingerprint and not (is_model or as_made):
            yield one


def _asked(recorded: list[StoredIndex], view: IndexView) -> StoredIndex | None:
    """Return the hidden column that is asked.

    While tokens of many indexes go from one purpose to the other, each is asked under a purpose that all of
    them have, so that columns that are joined have tokens under the same DEK.
    """
    candidates = {one.purpose: one for one in recorded if one.state.may_be_asked}
    ready = next((one for one in recorded if one.state is IndexState.READY), None)
    common = _common_purpose(view)
    if ready is None or common is None:
        return ready
    return candidates.get(common, ready)


def _common_purpose(view: IndexView) -> Purpose | None:
    """Return the purpose under which every index has a column that may be asked, if there is one."""
    if _common_purpose not in view.resolved:
        purposes: dict[Any, dict[Purpose, bool]] = {}
        for of_table in view.by_table.values():
            for one in of_table:
                if one.state.may_be_asked:
                    of_index = purposes.setdefault((*one.of_table, one.column, one.name), {})
                    of_index[one.purpose] = one.state is IndexState.READY
        # An index that is leaving for good has nothing that is ready.
        living = [found for found in purposes.values() if any(found.values())]
        shared = [one for one in Purpose if living and all(one in found for found in living)]
        newest = [one for one in shared if all(found[one] for found in living)]
        view.resolved[_common_purpose] = next(iter(newest or shared), None)
    return view.resolved[_common_purpose]  # type: ignore[no-any-return]
