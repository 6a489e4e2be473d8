"""Rows and cursors of asyncpg, opened as they are fetched. See :class:`Rows`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from sqlalchemy_cmk.dbapi.aio.records import as_records
from sqlalchemy_cmk.dbapi.aio.sealer import Opening, Sealer
from sqlalchemy_cmk.dbapi.statements import Known, Sent
from sqlalchemy_cmk.hooks.fetch import AT_ONCE


class Rows:
    """Opens the rows of one execution.

    Args:
        sealer: of its connection.
        known: the statement.
        sent: the execution.
    """

    def __init__(self, sealer: Sealer, known: Known, sent: Sent) -> None:
        from asyncpg import Record

        self._opening = Opening(sealer, known, sent, Record)

    async def opened(self, raw: list[Any]) -> list[Any]:
        """Return rows with their sealed values opened; the driver's own where there are none."""
        if not raw or not self._opening.is_needed:
            return raw
        names = list(raw[0].keys())
        return as_records(names, await self._opening.open(names, raw))

    async def opened_one(self, raw: Any) -> Any:
        """Return one row with its sealed values opened; ``None`` if there is none."""
        return None if raw is None else (await self.opened([raw]))[0]


# Makes the driver's factory of a cursor, with what opens its rows.
Start = Callable[[], Awaitable[tuple[Any, Rows]]]


class CursorFactory:
    """What ``cursor()`` of asyncpg returns: awaited, a cursor; else an async iterator over the rows.

    Args:
        start: makes the driver's.
        prefetch: how many rows are fetched together by the iterator; ``None`` for the library's own number.
        timeout: of each fetch, in seconds.
    """

    def __init__(self, start: Start, prefetch: int | None, timeout: float | None) -> None:
        self._start = start
        self._prefetch = prefetch
        self._timeout = timeout

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    def __await__(self) -> Generator[Any, None, Cursor]:
        return self._cursor().__await__()

    async def _each(self) -> AsyncIterator[Any]:
        cursor = await self._cursor()
        while found := await cursor.fetch(self._prefetch or AT_ONCE, timeout=self._timeout):
            for row in found:
                yield row

    async def _cursor(self) -> Cursor:
        raw, rows = await self._start()
        return Cursor(await raw, rows)


class Cursor:
    """A cursor of asyncpg.

    Args:
        raw: the driver's cursor.
        rows: opens its rows.
    """

    def __init__(self, raw: Any, rows: Rows) -> None:
        self._raw = raw
        self._rows = rows

    async def fetch(self, n: int, *, timeout: float | None = None) -> list[Any]:
        """Return the next ``n`` rows, opened; fewer at the end."""
        return await self._rows.opened(await self._raw.fetch(n, timeout=timeout))

    async def fetchrow(self, *, timeout: float | None = None) -> Any:
        """Return the next row, opened; ``None`` after the last."""
        return await self._rows.opened_one(await self._raw.fetchrow(timeout=timeout))

    async def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip ``n`` rows, and return how many there were."""
        return int(await self._raw.forward(n, timeout=timeout))
