"""Rows as a job needs them: past SQLAlchemy's types where these change nothing, and no more than fit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from sqlalchemy_cmk.codec import NO_VALUE
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.layout import Layout

# The values of one batch, for the worker's memory.
MAX_BYTES = 4_000_000

_size = itemgetter(-1)


class Fetched(NamedTuple):
    """Consecutive rows.

    Attributes:
        rows: the rows.
        is_last: whether no row is known to come after them.
    """

    rows: Sequence[Any]
    is_last: bool


class Reader:
    """Fetches a table's rows, some at a time.

    A value that is longer than its share of a batch is left out of the first answer, which says how long the
    row is; then only so many rows are asked for as fit into a batch.

    Args:
        layout: the table.

    Attributes:
        unreadable: the errors that say that a stored value is none of its type.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._raw = layout.row_reader
        limit = layout.statement_limit
        # A statement holds each row as it was and as it will be, and texts with their quotes escaped.
        self._budget = MAX_BYTES if limit is None else min(MAX_BYTES, max(1, limit // 4))
        self.unreadable: tuple[type[Exception], ...] = NO_VALUE
        own_types = (type(move.opens).__module__.startswith("sqlalchemy.") for move in layout.job.moves)
        if self._raw is None and all(own_types):
            # SQLAlchemy's own types fail so on a value of another kind, as SQLite stores them.
            self.unreadable += (TypeError, AttributeError)
        # Of rows that the driver gives itself, a value that it cannot read is its error, not SQLAlchemy's.
        driver_error = getattr(layout.dialect.dbapi, "DataError", None)
        if driver_error is not None:
            self.unreadable += (driver_error,)

    def rows(self, connection: Connection, after: Key | None, up_to: Key | None, limit: int) -> Fetched:
        """Return the next rows of :meth:`Layout.next_rows`, at least one, and end the transaction."""
        try:
            return self.fetch(connection, after, up_to, limit)
        finally:
            connection.rollback()

    def fetch(self, connection: Connection, after: Key | None, up_to: Key | None, limit: int) -> Fetched:
        """Return the next rows as :meth:`rows` does; the transaction goes on."""
        first, columns = limit, self._layout.sizes.columns
        longest = self._budget // (limit * columns) if columns else 0
        while True:
            rows = self._ask(connection, after, up_to, limit, longest)
            if not columns:
                return Fetched(rows, len(rows) < limit)
            fitting = rows[: self._fitting(rows, longest * columns)]
            left_out = [size for size in map(_size, fitting) if size is not None]
            if not left_out:
                return Fetched(fitting, limit == first and len(fitting) == len(rows) < limit)
            limit, longest = len(fitting), max(left_out)

    def _fitting(self, rows: Sequence[Any], share: int) -> int:
        """Return how many of the rows fit into a batch."""
        sizes = list(map(_size, rows))
        if sizes.count(None) == len(sizes):
            return len(rows)
        total = 0
        for i, size in enumerate(sizes):
            total += share if size is None else size
            if total > self._budget and i:
                return i
        return len(rows)

    def _ask(
        self, connection: Connection, after: Key | None, up_to: Key | None, limit: int, longest: int
    ) -> Sequence[Any]:
        query, parameters = self._layout.next_rows(after, up_to, limit, longest)
        if self._raw is None:
            return connection.execute(query, parameters).all()
        return self._raw.rows(connection, query, parameters)
