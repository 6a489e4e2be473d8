"""Rows that INSERT, UPDATE and DELETE return: SQLAlchemy reads some before it hands out their result.

They are opened at the cursor, and wrapped, so that the type's result processor knows them for opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.columns.processors import Opened
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.candidates import note_sent
from sqlalchemy_cmk.hooks.equality import rows_tenant
from sqlalchemy_cmk.hooks.fetch import RowOpener, refuse_without_row
from sqlalchemy_cmk.hooks.positions import SealedPosition, find_positions
from sqlalchemy_cmk.keys.dry_run import noting

_positions: WeakKeyDictionary[Compiled, tuple[SealedPosition, ...]] = WeakKeyDictionary()


def returns_sealed(context: Any) -> tuple[SealedPosition, ...]:
    """Return where the rows that a statement returns carry sealed values."""
    compiled = context.compiled
    found = _positions.get(compiled)
    if found is None:
        entries = private.returned_columns(compiled)
        types = [entry[3] for entry in entries]
        columns = {
            index: type_.sealed_column
            for index, type_ in enumerate(types)
            if isinstance(type_, EncryptedType) and type_.sealed_column is not None
        }
        objects = [entry[2] for entry in entries]
        found = _positions[compiled] = find_positions(columns, objects, context.dialect)
    return found


def refuse_unbound(context: Any) -> None:
    """Refuse, before it is sent, a statement that returns a row-bound column without its row identity.

    Raises:
        UnsupportedOperation: naming the columns to return too.
    """
    for position in returns_sealed(context):
        if position.column.scheme.row_bound and position.identity_indexes is None:
            with noting(position.column.table.metadata):
                refuse_without_row(position)


def open_batches(context: Any) -> None:
    """Have the rows of an INSERT in batches opened when all are read."""
    positions = returns_sealed(context)
    if positions:
        private.replace_batches(context, lambda rows: _opened(context, positions, rows))


def after_cursor_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Open the rows that a statement returns."""
    if getattr(context, "compiled", None) is None:
        return
    note_sent(context, statement, parameters)
    positions = returns_sealed(context)
    if positions and not private.is_in_batches(context):
        private.replace_returned(context, lambda rows: _opened(context, positions, rows))


def _opened(context: Any, positions: Sequence[SealedPosition], rows: Sequence[Any]) -> Sequence[Any]:
    opener = RowOpener(context.root_connection, positions, None, partial(rows_tenant, context))
    if positions[0].column.dry_run is not None:
        return opener.open(rows)
    indexes = {position.index for position in positions}
    return [
        tuple(Opened(value) if i in indexes and value is not None else value for i, value in enumerate(row))
        for row in opener.open(rows)
    ]
