"""Seals and opens for an async driver's connection, on SQLAlchemy's asyncio bridge. See :class:`Sealer`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from sqlalchemy_cmk.dbapi.fetching import Opens
from sqlalchemy_cmk.dbapi.statements import Known, Sent, Statements
from sqlalchemy_cmk.dbapi.updating import asker
from sqlalchemy_cmk.errors import UnsupportedOperation

T = TypeVar("T")


class Sealer:
    """Seals what one connection sends.

    Args:
        bound: SQLAlchemy's connection over it.
        statements: reads and seals statements.
        keeps_transaction: whether SQLAlchemy's transaction is that of the caller, and ends with it.
    """

    def __init__(self, bound: AsyncConnection, statements: Statements, keeps_transaction: bool) -> None:
        self.bound = bound
        self._statements = statements
        self._keeps_transaction = keeps_transaction
        self._lock = asyncio.Lock()

    def known(self, statement: Any) -> Known | None:
        """Return what is known of a statement; ``None`` if it names no protected table.

        Raises:
            UnsupportedOperation: as :meth:`Statements.known`; or it is not text.
        """
        if not isinstance(statement, str):
            raise UnsupportedOperation(
                f"a statement of type {type(statement).__name__}: give its text as str"
            )
        return self._statements.known(statement)

    def may_concern(self, text: str) -> bool:
        """Return whether a text may name a protected table, without reading it."""
        return self._statements.schema.current().may_concern(text)

    async def seal(self, known: Known, statement: str, given: Any) -> Sent:
        """Return one execution sealed; see :meth:`Statements.seal`."""
        return await self.run(
            lambda bound: self._statements.seal(bound, known, statement, given, asker(bound))
        )

    async def seal_many(self, known: Known, statement: str, every: Sequence[Any]) -> Sent | None:
        """Return many executions sealed; see :meth:`Statements.seal_many`."""
        return await self.run(lambda bound: self._statements.seal_many(bound, known, statement, every))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run work with SQLAlchemy's connection, where keys may be opened."""
        async with self._lock:
            try:
                return await self.bound.run_sync(work)
            finally:
                if not self._keeps_transaction and self.bound.in_transaction():
                    await self.bound.rollback()


class Opening:
    """Opens the rows of one execution.

    Args:
        sealer: of its connection.
        known: the statement; ``None`` if it names no protected table.
        sent: the execution.
        kind: of the rows that the driver gives by default.
    """

    def __init__(self, sealer: Sealer, known: Known | None, sent: Sent | None, kind: type) -> None:
        self._sealer = sealer
        self._known = known
        self._values = None if sent is None else sent.values
        self._kind = kind
        self._opener: Opens | None = None
        self.is_needed = known is not None and known.opener.returns_sealed and self._values is not None

    async def prepare(self, names: Sequence[str]) -> None:
        """Refuse a result whose columns are not those that were expected; see :meth:`open`."""
        await self._sealer.run(lambda bound: self._opened(bound, names, ()))

    async def open(self, names: Sequence[str], rows: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Return rows with their sealed values opened.

        Args:
            names: the names of the result's columns.
            rows: some of its rows, as the driver gives them.

        Raises:
            UnsupportedOperation: the rows are not of the kind that the driver gives by default.
            CmkError: as the ORM does for the same rows.
        """
        if any(type(row) is not self._kind for row in rows):
            raise UnsupportedOperation(
                f"rows of type {type(rows[0]).__name__}: a wrapped connection opens those of type "
                f"{self._kind.__name__}: leave record_class and row_factory at the driver's defaults"
            )
        return await self._sealer.run(lambda bound: self._opened(bound, names, rows))

    def _opened(self, bound: Connection, names: Sequence[str], rows: Sequence[Any]) -> Sequence[Any]:
        if self._opener is None and self._known is not None and self._values is not None:
            self._opener = self._known.opener.on(bound, names, self._values)
        return rows if self._opener is None else self._opener.open(rows)
