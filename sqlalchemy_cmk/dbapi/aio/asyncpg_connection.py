"""A connection of asyncpg that seals and opens. See :class:`AsyncpgConnection`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy_cmk.dbapi.aio.asyncpg_rows import CursorFactory, Rows
from sqlalchemy_cmk.dbapi.aio.asyncpg_statements import PreparedStatement
from sqlalchemy_cmk.dbapi.aio.sealer import Sealer
from sqlalchemy_cmk.dbapi.statements import Known, Sent
from sqlalchemy_cmk.errors import UnsupportedOperation

_PASSED = frozenset(
    {
        "add_listener",
        "add_log_listener",
        "add_query_logger",
        "add_termination_listener",
        "close",
        "get_server_pid",
        "get_server_version",
        "get_settings",
        "is_closed",
        "is_in_transaction",
        "query_logger",
        "reload_schema_state",
        "remove_listener",
        "remove_log_listener",
        "remove_query_logger",
        "remove_termination_listener",
        "reset",
        "reset_type_codec",
        "set_builtin_type_codec",
        "set_type_codec",
        "terminate",
        "transaction",
    }
)


class AsyncpgConnection:
    """A connection around one of asyncpg, with its interface. Made by ``wrap_async``.

    Args:
        raw: the driver's connection, or a pool's.
        sealer: seals what is sent.
    """

    def __init__(self, raw: Any, sealer: Sealer) -> None:
        self._raw = raw
        self._sealer = sealer

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED:
            raise UnsupportedOperation(
                f"{name} of a wrapped connection: it passes what is not sealed, or not opened: use execute() "
                "and fetch()"
            )
        return getattr(self._raw, name)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Execute a statement, with what it writes and compares sealed, and return its status.

        Raises:
            CmkError: the statement is refused, or a key cannot be used.
        """
        known = self._sealer.known(query)
        if known is None:
            return str(await self._raw.execute(query, *args, timeout=timeout))
        sent = await self._sealer.seal(known, query, args)
        return str(await self._raw.execute(sent.statement, *sent.parameters, timeout=timeout))

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> None:
        """Execute a statement for many sets of parameters, all or none; raises as :meth:`execute` does."""
        known = self._sealer.known(command)
        if known is None:
            await self._raw.executemany(command, args, timeout=timeout)
            return
        every = list(args)
        sent = await self._sealer.seal_many(known, command, every)
        if sent is not None:
            await self._raw.executemany(sent.statement, sent.parameters, timeout=timeout)
            return
        async with self._raw.transaction():
            for one in every:
                await self.execute(command, *one, timeout=timeout)

    async def fetch(self, query: str, *args: Any, timeout: float | None = None, **options: Any) -> list[Any]:
        """Execute a query and return its rows, opened; raises as :meth:`execute` does."""
        known = self._known(query, options)
        if known is None:
            return list(await self._raw.fetch(query, *args, timeout=timeout, **options))
        sent, rows = await self._sealed(known, query, args)
        return await rows.opened(await self._raw.fetch(sent.statement, *sent.parameters, timeout=timeout))

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        """Execute a query and return its first row, opened; raises as :meth:`execute` does."""
        known = self._known(query, options)
        if known is None:
            return await self._raw.fetchrow(query, *args, timeout=timeout, **options)
        sent, rows = await self._sealed(known, query, args)
        return await rows.opened_one(
            await self._raw.fetchrow(sent.statement, *sent.parameters, timeout=timeout)
        )

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """Execute a query and return one value of its first row, opened; as :meth:`fetchrow`."""
        row = await self.fetchrow(query, *args, timeout=timeout)
        return None if row is None else row[column]

    async def fetchmany(
        self, query: str, args: Any, *, timeout: float | None = None, **options: Any
    ) -> list[Any]:
        """Execute a query for many sets, all or none, and return the rows, opened."""
        known = self._known(query, options)
        if known is None:
            return list(await self._raw.fetchmany(query, args, timeout=timeout, **options))
        found: list[Any] = []
        async with self._raw.transaction():
            for one in args:
                found += await self.fetch(query, *one, timeout=timeout)
        return found

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare a statement; over a protected table, one that seals and opens."""
        known = self._known(query, {one: given for one, given in options.items() if one == "record_class"})
        if known is None:
            return await self._raw.prepare(query, **options)
        text, _ = known.plan.text.written(0, len(known.plan.text.parsed))
        prepared = await self._raw.prepare(text, **options)
        return PreparedStatement(self._raw, self._sealer, known, query, prepared)

    def cursor(
        self,
        query: str,
        *args: Any,
        prefetch: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Return what iterates over the rows of a query, or gives a cursor when awaited."""
        known = self._known(query, options)
        if known is None:
            return self._raw.cursor(query, *args, prefetch=prefetch, timeout=timeout, **options)

        async def start() -> tuple[Any, Rows]:
            sent, rows = await self._sealed(known, query, args)
            return self._raw.cursor(sent.statement, *sent.parameters, timeout=timeout), rows

        return CursorFactory(start, prefetch, timeout)

    async def copy_from_table(self, table_name: str, **options: Any) -> Any:
        """Copy a table out, where it has no sealed columns."""
        self._refuse_copy(table_name)
        return await self._raw.copy_from_table(table_name, **options)

    async def copy_from_query(self, query: str, *args: Any, **options: Any) -> Any:
        """Copy the rows of a query out, where they are of no protected table."""
        self._refuse_copy(query)
        return await self._raw.copy_from_query(query, *args, **options)

    async def copy_to_table(self, table_name: str, **options: Any) -> Any:
        """Copy into a table, where it has no sealed columns."""
        self._refuse_copy(table_name)
        return await self._raw.copy_to_table(table_name, **options)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """Copy records into a table, where it has no sealed columns."""
        self._refuse_copy(table_name)
        return await self._raw.copy_records_to_table(table_name, **options)

    def _refuse_copy(self, text: str) -> None:
        if self._sealer.may_concern(text):
            raise UnsupportedOperation(
                "COPY with a table that has sealed columns: write rows by executemany(), and read them by "
                "cursor()"
            )

    def _known(self, query: str, options: dict[str, Any]) -> Known | None:
        known = self._sealer.known(query)
        if known is not None and any(one is not None for one in options.values()):
            raise UnsupportedOperation(
                f"{', '.join(options)} with a table that has sealed columns: leave it out"
            )
        return known

    async def _sealed(self, known: Known, query: str, args: Sequence[Any]) -> tuple[Sent, Rows]:
        sent = await self._sealer.seal(known, query, args)
        return sent, Rows(self._sealer, known, sent)
