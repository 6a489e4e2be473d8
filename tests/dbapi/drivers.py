"""Wrapped connections of all drivers, used alike: those of asyncio by the interface of PEP 249."""

import asyncio
import re
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import aiosqlite
import asyncpg

from sqlalchemy_cmk.dbapi import wrap, wrap_async
from tests.support.vault import Vault

SYNC = ["sqlite", "postgresql", "mariadb"]
ALL = [*SYNC, "aiosqlite", "asyncpg"]
KINDS = {"aiosqlite": "sqlite", "asyncpg": "postgresql"}


class Driver:
    """Connects to the database of a vault by one driver.

    `counts_many` says whether the driver tells how many rows `executemany` wrote.
    """

    def __init__(self, vault: Vault, name: str) -> None:
        self._vault = vault
        self._name = name
        self._made: list[Any] = []
        self.counts_many = name != "asyncpg"

    def connect(self) -> Any:
        """A connection of the driver's own."""
        dialect = self._vault.engine.dialect
        args, options = dialect.create_connect_args(self._vault.engine.url)
        self._made.append(dialect.loaded_dbapi.connect(*args, **options))
        return self._made[-1]

    def wrapped(self) -> Any:
        if self._name not in KINDS:
            return wrap(self.connect(), self._vault.keyring, self._vault.base)
        self._made.append(Blocking(self._vault, self._name))
        return self._made[-1]

    def mark(self, statement: str) -> str:
        """A statement with the driver's own parameters in the places of question marks."""
        if self._name == "asyncpg":
            parts = statement.split("?")
            numbered = [f"{part}${number}" for number, part in enumerate(parts[:-1], 1)]
            return "".join([*numbered, parts[-1]])
        return statement if "sqlite" in self._name else statement.replace("?", "%s")

    def close(self) -> None:
        for one in self._made:
            one.close()


class Blocking:
    """A wrapped connection of an async driver, on a loop of its own."""

    def __init__(self, vault: Vault, name: str) -> None:
        self._runner = asyncio.Runner()
        self._transaction: Any = None
        self.connection = self.run(connected(vault, name))

    def run(self, work: Any) -> Any:
        return self._runner.run(work, context=copy_context())

    def cursor(self) -> Any:
        if isinstance(self.connection._raw, aiosqlite.Connection):
            return BlockingCursor(self, self.run(_awaited(self.connection.cursor())))
        return AsyncpgCursor(self)

    def begin(self) -> None:
        if self._transaction is None:
            self._transaction = self.connection.transaction()
            self.run(self._transaction.start())

    def commit(self) -> None:
        self._end("commit")

    def rollback(self) -> None:
        self._end("rollback")

    def close(self) -> None:
        self.run(self.connection.close())
        self._runner.close()

    def _end(self, how: str) -> None:
        if isinstance(self.connection._raw, aiosqlite.Connection):
            self.run(getattr(self.connection, how)())
        elif self._transaction is not None:
            self.run(getattr(self._transaction, how)())
            self._transaction = None


async def connected(vault: Vault, name: str) -> Any:
    """A wrapped connection of an async driver."""
    url = vault.engine.url
    if name == "aiosqlite":
        raw: Any = await aiosqlite.connect(str(url.database))
    else:
        raw = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    return await wrap_async(raw, vault.keyring, vault.base)


async def _awaited(one: Any) -> Any:
    return await one


class BlockingCursor:
    """A wrapped cursor of aiosqlite."""

    def __init__(self, connection: Blocking, cursor: Any) -> None:
        self.connection = connection
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cursor, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *args: self.connection.run(found(*args))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchone, None)


class AsyncpgCursor:
    """The wrapped connection of asyncpg, in a transaction."""

    def __init__(self, connection: Blocking) -> None:
        self.connection = connection
        self._rows: list[Any] = []
        self.rowcount = -1

    def execute(self, statement: str, parameters: Any = ()) -> None:
        self.connection.begin()
        connection = self.connection.connection
        if re.match(r"SELECT|WITH", statement):
            rows = self.connection.run(connection.fetch(statement, *parameters))
            self._rows = [tuple(row) for row in rows]
            return
        status = self.connection.run(connection.execute(statement, *parameters))
        self.rowcount = int(status.split()[-1])

    def executemany(self, statement: str, parameters: Any) -> None:
        self.connection.begin()
        self.connection.run(self.connection.connection.executemany(statement, parameters))

    def fetchall(self) -> list[Any]:
        return self._rows
