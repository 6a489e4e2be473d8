"""Results of which some rows are dropped once they are opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CursorResult
from sqlalchemy.engine.cursor import (
    CursorFetchStrategy,
    FullyBufferedCursorFetchStrategy,
    ResultFetchStrategy,
)

from sqlalchemy_cmk.databases.sqlalchemy_private.results import OpeningFetch, OpenRows

# Rows that are fetched together where all are wanted, up to a limit.
_AT_ONCE = 500


def raw_page(result: CursorResult[Any]) -> Sequence[Any]:
    """Return all rows of a result as the driver gives them; the result stays open, without them."""
    if type(result.cursor_strategy) is CursorFetchStrategy and result.cursor is not None:
        return list(result.cursor.fetchall())
    return list(result.cursor_strategy.fetchall(result, result.cursor))


def hand_out(result: CursorResult[Any], rows: Sequence[Any]) -> None:
    """Have a result give these raw rows."""
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(result.cursor, initial_buffer=rows)


def drop_fetched(
    result: CursorResult[Any], open_rows: OpenRows, *, offset: int, limit: int | None, now: bool
) -> None:
    """Have the raw rows of a result opened, and some of them dropped, before SQLAlchemy makes rows of them.

    Args:
        result: the result.
        open_rows: returns those raw rows that stay, opened.
        offset: how many of those that stay are left out.
        limit: how many of the others are given at most; ``None`` for all.
        now: read and open all rows now, unless the result is a stream.
    """
    inner = result.cursor_strategy
    dropping = DroppingFetch(inner, open_rows, offset, limit)
    if now and type(inner) is CursorFetchStrategy and result.cursor is not None:
        hand_out(result, dropping.taken(open_rows(list(result.cursor.fetchall()))))
    else:
        result.cursor_strategy = dropping


class DroppingFetch(OpeningFetch):
    """Passes on those of another strategy's rows that stay, opened.

    Args:
        inner: the other strategy.
        open_rows: returns those raw rows that stay, opened.
        offset: how many of those that stay are left out.
        limit: how many of the others are passed on at most; ``None`` for all.
    """

    __slots__ = ("_left", "_skip")

    def __init__(
        self, inner: ResultFetchStrategy, open_rows: OpenRows, offset: int, limit: int | None
    ) -> None:
        super().__init__(inner, open_rows)
        self._skip, self._left = offset, limit

    def taken(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return what of some rows that stay lies behind the offset, and before the limit."""
        if self._skip:
            skipped = min(self._skip, len(rows))
            self._skip -= skipped
            rows = rows[skipped:]
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
        return rows

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """Fetch the next row that stays, opened."""
        while self._left != 0:
            row = self._inner.fetchone(result, dbapi_cursor, hard_close)
            if row is None:
                return None
            taken = self.taken(self._open_rows((row,)))
            if taken:
                return taken[0]
            if self._is_over(result):
                return None
        result._soft_close(hard=hard_close)
        return None

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """Fetch as many rows that stay, opened; fewer at the end only."""
        found: list[Any] = []
        while self._left != 0:
            rows = self._inner.fetchmany(result, dbapi_cursor, None if size is None else size - len(found))
            if not rows:
                return found
            found += self.taken(self._open_rows(rows))
            enough = bool(found) if size is None else len(found) >= size
            if enough or self._is_over(result):
                return found
        if not found:
            result._soft_close()
        return found

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """Fetch all rows that stay, opened."""
        if self._left is None:
            return self.taken(self._open_rows(self._inner.fetchall(result, dbapi_cursor)))
        found: list[Any] = []
        while self._left:
            rows = self._inner.fetchmany(result, dbapi_cursor, _AT_ONCE)
            if not rows:
                return found
            found += self.taken(self._open_rows(rows))
            if self._is_over(result):
                return found
        result._soft_close()
        return found

    def _is_over(self, result: Any) -> bool:
        """Return whether the last rows have come: a strategy may close the cursor together with them."""
        return result.cursor_strategy is not self
