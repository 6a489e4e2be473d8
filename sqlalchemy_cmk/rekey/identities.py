"""Row identities of a job's rows: read with the rows, and encoded batch by batch. See :class:`Identities`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Enum, Integer, String, type_coerce
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.identity import RowIdentity
from sqlalchemy_cmk.databases.comparing import python_type_of
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.rekey.job import Job, Move, RowColumns, row_columns

if TYPE_CHECKING:
    from sqlalchemy_cmk.rekey.layout import Layout

Encode = Callable[[Sequence[Any]], bytes]


class Identities:
    """Makes the row identities to which a job's values are bound.

    A row identity of the primary key is made of the key that is read with each row anyway.

    Args:
        job: what is to be done.
        layout: the job's table.

    Attributes:
        columns: the identity columns that are read besides the key.
        guards: what has to be as it was read for a bound value to be written.

    Raises:
        ConfigurationError: an identity column is not there, or values of its type cannot be bound to.
    """

    def __init__(self, job: Job, layout: Layout) -> None:
        self._default: RowColumns = tuple((one.name, None) for one in layout.key)
        self._own = row_columns(job.row_columns) or self._default
        self._encoders: dict[RowColumns, tuple[list[int], Encode]] = {}
        self._beyond_key = len(layout.key)
        self.columns: list[ColumnElement[Any]] = []
        self.guards: list[ColumnElement[Any]] = []
        for move in job.moves:
            if move.opens_bound:
                self._prepare(self.opening(move), layout)
            if move.seals_bound:
                self._prepare(self.sealing(move), layout)
        if any(move.seals_bound for move in job.moves):
            key = {one.name for one in layout.key}
            columns = (layout.column(name) for name, _ in self._own if name not in key)
            self.guards = [layout.database.exact(column) for column in columns]

    def opening(self, move: Move) -> RowColumns:
        """Return the columns to which the values that a move opens are bound; none where they are not."""
        if not move.opens_bound:
            return ()
        return row_columns(move.existing_row_columns) or self._own

    def sealing(self, move: Move) -> RowColumns:
        """Return the columns to which the values that a move seals are bound; none where they are not."""
        return self._own if move.seals_bound else ()

    def of(self, bound_to: RowColumns, columns: Sequence[Sequence[Any]]) -> Sequence[Any] | None:
        """Return the row identity of each row of a batch, ``None`` for one that has none.

        There is nothing to return where ``bound_to`` is empty.

        Args:
            bound_to: what :meth:`opening` or :meth:`sealing` gave.
            columns: the key columns of the batch, then :attr:`columns`, each with its values.
        """
        if not bound_to:
            return None
        places, encode = self._encoders[bound_to]
        rows = zip(*(columns[place] for place in places), strict=True)
        return [_encoded(encode, row) for row in rows]

    def _prepare(self, bound_to: RowColumns, layout: Layout) -> None:
        if bound_to in self._encoders:
            return
        places, typed = [], []
        for name, type_ in bound_to:
            column = layout.column(name)
            at = next((i for i, one in enumerate(layout.key) if one is column), None)
            if at is None or (type_ is not None and not _gives_the_same(column.type, type_)):
                at = self._beyond_key + len(self.columns)
                self.columns.append(column if type_ is None else type_coerce(column, type_))
            places.append(at)
            typed.append(Column(name, type_ or column.type))
        self._encoders[bound_to] = places, RowIdentity(layout.table, tuple(typed)).encoder()


def _encoded(encode: Encode, row: Sequence[Any]) -> bytes | None:
    try:
        return encode(row)
    except InvalidValue:
        return None


def _gives_the_same(stored: TypeEngine[Any], declared: TypeEngine[Any]) -> bool:
    """Return whether values read by the database's own type are those that the declared type gives."""
    plain = isinstance(declared, String | Integer) and not isinstance(declared, Enum)
    ours = type(declared).__module__.startswith("sqlalchemy.")
    return plain and ours and python_type_of(stored) is python_type_of(declared)
