"""The update that writes a batch: it changes only rows that are still as they were read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases.batch_update import BatchUpdate, RawBytes
from sqlalchemy_cmk.rekey.job import Move
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.token_type import TokensOf


def batch_update_of(layout: Layout) -> BatchUpdate:
    """Return the update of a job's rows: the values of its moves, guarded by :attr:`Layout.guards`."""
    written = {move.target: move for move in layout.job.moves}
    return BatchUpdate(
        layout.table,
        layout.key,
        layout.guards,
        [layout.column(name) for name in written],
        [_type_written(layout, move) for move in written.values()],
        overwrites=layout.job.in_place or layout.job.makes_tokens,
        reads_other_table=layout.joined and layout.guards_tenant,
    )


def _type_written(layout: Layout, move: Move) -> TypeEngine[Any]:
    if isinstance(move.seals, TokensOf):
        return layout.database.grams_type() if move.seals.index.stores_grams else RawBytes()
    if move.seals_sealed:
        return RawBytes()
    if not isinstance(move.seals, JSON):
        return move.seals
    # Nothing to write is NULL, of which the type would make a JSON null.
    type_ = move.seals.copy()
    type_.none_as_null = True
    return type_
