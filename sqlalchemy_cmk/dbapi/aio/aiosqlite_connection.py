"""A connection of aiosqlite that seals and opens. See :class:`AiosqliteConnection`."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, NoReturn, Self

from sqlalchemy_cmk.dbapi.aio.aiosqlite_cursor import AiosqliteCursor
from sqlalchemy_cmk.dbapi.aio.lent import LentAiosqlite
from sqlalchemy_cmk.dbapi.aio.sealer import Sealer
from sqlalchemy_cmk.errors import UnsupportedOperation

_OURS = ("_lent", "_raw", "_sealer")
_PASSED = frozenset(
    {
        "create_function",
        "enable_load_extension",
        "in_transaction",
        "interrupt",
        "isolation_level",
        "load_extension",
        "row_factory",
        "set_authorizer",
        "set_progress_handler",
        "set_trace_callback",
        "text_factory",
        "total_changes",
    }
)


class Pending:
    """What aiosqlite returns: a cursor to be awaited, or to be used in ``async with``, which closes it.

    Args:
        coroutine: makes the cursor.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, AiosqliteCursor]) -> None:
        self._coroutine = coroutine
        self._made: AiosqliteCursor | None = None

    def __await__(self) -> Generator[Any, None, AiosqliteCursor]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> AiosqliteCursor:
        self._made = await self._coroutine
        return self._made

    async def __aexit__(self, *_: object) -> None:
        if self._made is not None:
            await self._made.close()


class AiosqliteConnection:
    """A connection around one of aiosqlite, with its interface. Made by ``wrap_async``.

    Args:
        raw: the driver's connection.
        lent: the same, as SQLAlchemy has it.
        sealer: seals what is sent.
    """

    def __init__(self, raw: Any, lent: LentAiosqlite, sealer: Sealer) -> None:
        self._raw = raw
        self._lent = lent
        self._sealer = sealer

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED:
            raise UnsupportedOperation(
                f"{name} of a wrapped connection: it passes what is not sealed, or not opened: use execute()"
            )
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OURS:
            object.__setattr__(self, name, value)
        else:
            setattr(self._raw, name, value)

    def cursor(self) -> Pending:
        """Return a cursor, when awaited."""
        return Pending(self._cursor())

    def execute(self, sql: str, parameters: Any = None) -> Pending:
        """Execute a statement with a cursor of its own; raises as :meth:`AiosqliteCursor.execute` does."""
        return Pending(self._execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any) -> Pending:
        """Execute a statement for many sets of parameters; as :meth:`execute`."""
        return Pending(self._executemany(sql, parameters))

    async def execute_fetchall(self, sql: str, parameters: Any = None) -> Any:
        """Execute a statement and return all rows, opened."""
        async with self.execute(sql, parameters) as cursor:
            return await cursor.fetchall()

    async def execute_insert(self, sql: str, parameters: Any = None) -> Any:
        """Execute an INSERT and return the row number of the last row."""
        async with self.execute(sql, parameters) as cursor:
            return (cursor.lastrowid,)

    async def executescript(self, *_: object) -> NoReturn:
        """Refuse: several statements cannot be sealed.

        Raises:
            UnsupportedOperation: always.
        """
        raise UnsupportedOperation("executescript() of a wrapped connection: execute each statement")

    async def commit(self) -> None:
        """Commit."""
        if self._sealer.bound.in_transaction():
            with self._lent.passing_on():
                await self._sealer.bound.commit()
        else:
            await self._raw.commit()

    async def rollback(self) -> None:
        """Roll back."""
        if self._sealer.bound.in_transaction():
            with self._lent.passing_on():
                await self._sealer.bound.rollback()
        else:
            await self._raw.rollback()

    async def close(self) -> None:
        """Close the driver's connection; what was not committed is rolled back by the database."""
        await self._raw.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _cursor(self) -> AiosqliteCursor:
        return AiosqliteCursor(await self._raw.cursor(), self._sealer, self)

    async def _execute(self, sql: str, parameters: Any) -> AiosqliteCursor:
        return await (await self._cursor()).execute(sql, parameters)

    async def _executemany(self, sql: str, parameters: Any) -> AiosqliteCursor:
        return await (await self._cursor()).executemany(sql, parameters)
