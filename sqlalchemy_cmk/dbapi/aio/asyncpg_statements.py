"""A prepared statement of asyncpg that seals and opens. See :class:`PreparedStatement`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy_cmk.dbapi.aio.asyncpg_rows import CursorFactory, Rows
from sqlalchemy_cmk.dbapi.aio.sealer import Sealer
from sqlalchemy_cmk.dbapi.statements import Known, Sent
from sqlalchemy_cmk.errors import UnsupportedOperation

_PASSED = frozenset({"get_attributes", "get_name", "get_parameters"})


class PreparedStatement:
    """A prepared statement of asyncpg over a protected table.

    Where sealing changes the text, as it does where a search index is asked, the changed one is prepared.

    Args:
        raw: the driver's connection.
        sealer: seals what it sends.
        known: the statement.
        query: its text, as the caller wrote it.
        prepared: the driver's statement.
    """

    def __init__(self, raw: Any, sealer: Sealer, known: Known, query: str, prepared: Any) -> None:
        self._raw = raw
        self._sealer = sealer
        self._known = known
        self._query = query
        self._prepared = prepared
        self._last = prepared

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED:
            raise UnsupportedOperation(f"{name}() of a statement over a table with sealed columns")
        return getattr(self._prepared, name)

    def get_query(self) -> str:
        """Return the text."""
        return self._query

    def get_statusmsg(self) -> str:
        """Return the status of the last execution."""
        return str(self._last.get_statusmsg())

    async def fetch(self, *args: Any, timeout: float | None = None) -> list[Any]:
        """Execute it and return its rows, opened.

        Raises:
            CmkError: a key cannot be used, or a row's tenant is not known or another.
        """
        sent, rows = await self._sealed(args)
        return await rows.opened(await self._last.fetch(*sent.parameters, timeout=timeout))

    async def fetchrow(self, *args: Any, timeout: float | None = None) -> Any:
        """Execute it and return its first row, opened; raises as :meth:`fetch` does."""
        sent, rows = await self._sealed(args)
        return await rows.opened_one(await self._last.fetchrow(*sent.parameters, timeout=timeout))

    async def fetchval(self, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """Execute it and return one value of its first row, opened; raises as :meth:`fetch` does."""
        row = await self.fetchrow(*args, timeout=timeout)
        return None if row is None else row[column]

    async def fetchmany(self, args: Any, *, timeout: float | None = None) -> list[Any]:
        """Execute it for many sets, all or none, and return the rows, opened."""
        found: list[Any] = []
        async with self._raw.transaction():
            for one in args:
                found += await self.fetch(*one, timeout=timeout)
        return found

    async def executemany(self, args: Any, *, timeout: float | None = None) -> None:
        """Execute it for many sets, all or none."""
        every = list(args)
        many = await self._sealer.seal_many(self._known, self._query, every)
        if many is not None:
            await self._use(many)
            await self._last.executemany(many.parameters, timeout=timeout)
            return
        async with self._raw.transaction():
            for one in every:
                await self.fetch(*one, timeout=timeout)

    def cursor(self, *args: Any, prefetch: int | None = None, timeout: float | None = None) -> CursorFactory:
        """Return what iterates over the rows, or gives a cursor when awaited."""

        async def start() -> tuple[Any, Rows]:
            sent, rows = await self._sealed(args)
            return self._last.cursor(*sent.parameters, timeout=timeout), rows

        return CursorFactory(start, prefetch, timeout)

    async def _sealed(self, args: Sequence[Any]) -> tuple[Sent, Rows]:
        sent = await self._sealer.seal(self._known, self._query, args)
        await self._use(sent)
        return sent, Rows(self._sealer, self._known, sent)

    async def _use(self, sent: Sent) -> None:
        """Have the statement ready that is sent for an execution."""
        if sent.statement in (self._query, self._prepared.get_query()):
            self._last = self._prepared
        elif sent.statement != self._last.get_query():
            self._last = await self._raw.prepare(sent.statement)
