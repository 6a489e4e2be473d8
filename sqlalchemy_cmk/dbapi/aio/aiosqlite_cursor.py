"""A cursor of aiosqlite that seals what it sends and opens what it fetches. See :class:`AiosqliteCursor`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy_cmk.dbapi.aio.sealer import Opening, Sealer
from sqlalchemy_cmk.dbapi.statements import Known, Sent
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.fetch import AT_ONCE

if TYPE_CHECKING:
    from sqlalchemy_cmk.dbapi.aio.aiosqlite_connection import AiosqliteConnection

_OURS = ("_connection", "_cursor", "_opening", "_rows", "_rowcount", "_sealer")
_PASSED = frozenset({"arraysize", "description", "lastrowid", "row_factory", "iter_chunk_size"})


class AiosqliteCursor:
    """A cursor around one of aiosqlite, with its interface.

    Args:
        cursor: the driver's cursor.
        sealer: seals what it sends.
        connection: the wrapped connection.
    """

    def __init__(self, cursor: Any, sealer: Sealer, connection: AiosqliteConnection) -> None:
        self._connection = connection
        self._cursor = cursor
        self._sealer = sealer
        self._opening: Opening | None = None
        # Rows that were read and opened together, and not handed out yet; the next one last.
        self._rows: list[Any] = []
        self._rowcount: int | None = None

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED:
            raise UnsupportedOperation(f"{name} of a wrapped cursor: what it sends could not be sealed")
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OURS:
            object.__setattr__(self, name, value)
        else:
            setattr(self._cursor, name, value)

    @property
    def connection(self) -> AiosqliteConnection:
        """The wrapped connection."""
        return self._connection

    @property
    def rowcount(self) -> int:
        """As the driver's."""
        return int(self._cursor.rowcount) if self._rowcount is None else self._rowcount

    async def execute(self, sql: str, parameters: Any = None) -> Self:
        """Execute a statement, with what it writes and compares sealed.

        Raises:
            CmkError: the statement is refused, or a key cannot be used.
        """
        self._forget()
        known = self._sealer.known(sql)
        if known is None:
            await self._send(sql, parameters)
            return self
        sent = await self._sealer.seal(known, sql, parameters)
        await self._send(sent.statement, sent.parameters)
        await self._open(known, sent)
        return self

    async def executemany(self, sql: str, parameters: Any) -> Self:
        """Execute a statement for many sets of parameters; raises as :meth:`execute` does."""
        self._forget()
        known = self._sealer.known(sql)
        if known is None:
            await self._cursor.executemany(sql, parameters)
            return self
        every = list(parameters)
        sent = await self._sealer.seal_many(known, sql, every)
        if sent is not None:
            await self._cursor.executemany(sent.statement, sent.parameters)
            return self
        count = 0
        for one in every:
            await self.execute(sql, one)
            count += max(self._cursor.rowcount, 0)
        self._rowcount = count
        return self

    async def fetchone(self) -> Any:
        """Return the next row, opened; ``None`` after the last."""
        if self._opening is None:
            return await self._cursor.fetchone()
        if not self._rows:
            self._rows = (await self._opened(await self._cursor.fetchmany(AT_ONCE)))[::-1]
        return self._rows.pop() if self._rows else None

    async def fetchmany(self, size: int | None = None) -> Any:
        """Return the next rows, opened; ``arraysize`` of them where no size is given."""
        if self._opening is None:
            return await (self._cursor.fetchmany() if size is None else self._cursor.fetchmany(size))
        wanted = self._cursor.arraysize if size is None else size
        while len(self._rows) < wanted:
            raw = await self._cursor.fetchmany(max(wanted - len(self._rows), AT_ONCE))
            if not raw:
                break
            self._rows = (await self._opened(raw))[::-1] + self._rows
        return [self._rows.pop() for _ in range(min(wanted, len(self._rows)))]

    async def fetchall(self) -> Any:
        """Return all rows that are left, opened."""
        if self._opening is None:
            return await self._cursor.fetchall()
        left = self._rows[::-1]
        self._rows = []
        return [*left, *await self._opened(await self._cursor.fetchall())]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def close(self) -> None:
        """Close the driver's cursor, and drop rows that were opened."""
        self._forget()
        await self._cursor.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _each(self) -> AsyncIterator[Any]:
        while (row := await self.fetchone()) is not None:
            yield row

    async def _send(self, sql: str, parameters: Any) -> None:
        await (self._cursor.execute(sql) if parameters is None else self._cursor.execute(sql, parameters))

    async def _open(self, known: Known, sent: Sent) -> None:
        opening = Opening(self._sealer, known, sent, tuple)
        if opening.is_needed and self._cursor.description is not None:
            self._opening = opening
            try:
                await opening.prepare(self._names())
            except BaseException:
                await self._cursor.close()  # nothing of it is handed out unopened
                raise

    async def _opened(self, raw: Any) -> list[Any]:
        rows: Sequence[Any] = list(raw)
        return list(await self._opening.open(self._names(), rows)) if rows and self._opening else list(rows)

    def _names(self) -> list[str]:
        return [one[0] for one in self._cursor.description]

    def _forget(self) -> None:
        self._opening = None
        self._rowcount = None
        self._rows = []
