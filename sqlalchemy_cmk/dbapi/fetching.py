"""A driver's cursor whose rows are opened as they are fetched. See :class:`OpeningCursor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy_cmk.hooks.fetch import AT_ONCE

_OURS = ("_connection", "_cursor", "_opener", "_rows", "_rowcount")


class Opens(Protocol):
    """Opens the sealed values of raw rows."""

    def open(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the raw rows of one batch with their sealed values opened."""


class OpeningCursor:
    """A driver's cursor whose rows are opened as they are fetched.

    What is not here is the driver's.

    Args:
        cursor: the driver's cursor.
        opener: opens its rows; ``None`` if there is nothing to open.
    """

    def __init__(self, cursor: Any, opener: Opens | None) -> None:
        self._cursor = cursor
        self._opener = opener
        # Rows that were read and opened together, and not handed out yet; the next one last.
        self._rows: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OURS:
            object.__setattr__(self, name, value)
        else:
            setattr(self._cursor, name, value)

    def fetchone(self) -> Any:
        """Return the next row, opened; ``None`` after the last."""
        if self._opener is None:
            return self._cursor.fetchone()
        if not self._rows:
            self._read(self._cursor.fetchmany(AT_ONCE))
        return self._rows.pop() if self._rows else None

    def fetchmany(self, size: int | None = None) -> Any:
        """Return the next rows, opened; ``arraysize`` of them where no size is given."""
        if self._opener is None:
            return self._cursor.fetchmany() if size is None else self._cursor.fetchmany(size)
        wanted = self._cursor.arraysize if size is None else size
        while len(self._rows) < wanted:
            raw = self._cursor.fetchmany(max(wanted - len(self._rows), AT_ONCE))
            if not raw:
                break
            self._read(raw)
        return [self._rows.pop() for _ in range(min(wanted, len(self._rows)))]

    def fetchall(self) -> Any:
        """Return all rows that are left, opened."""
        if self._opener is None:
            return self._cursor.fetchall()
        left = self._rows[::-1]
        self._rows.clear()
        raw = self._cursor.fetchall()
        return [*left, *self._opened(raw)] if raw else left

    def __iter__(self) -> Iterator[Any]:
        if self._opener is None:
            return iter(self._cursor)
        return iter(self.fetchone, None)

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def read_all(self) -> None:
        """Read and open all rows now."""
        self._rows = [*self.fetchall()][::-1]

    def close(self) -> None:
        """Close the driver's cursor, and drop rows that were opened."""
        self._rows.clear()
        self._cursor.close()

    def _read(self, raw: Sequence[Any]) -> None:
        self._rows = [*self._opened(raw)[::-1], *self._rows] if self._rows else list(self._opened(raw))[::-1]

    def _opened(self, raw: Sequence[Any]) -> Sequence[Any]:
        if self._opener is None or not raw:
            return raw
        return self._opener.open(raw)
