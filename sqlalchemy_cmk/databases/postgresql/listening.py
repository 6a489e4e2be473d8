"""Hears PostgreSQL's NOTIFY, by psycopg (3.2 or later), sync or async, and by asyncpg.

No statement is sent while it waits. See https://www.postgresql.org/docs/current/sql-notify.html.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from abc import abstractmethod
from contextlib import suppress
from inspect import signature
from typing import Any, cast

from sqlalchemy import Connection

from sqlalchemy_cmk.databases.listening import Listener
from sqlalchemy_cmk.databases.quoting import verbatim


def listener(connection: Connection, channel: str) -> Listener | None:
    """Return what hears a channel on a connection that commits each statement; ``None`` for other drivers."""
    driver, made = connection.dialect.driver, _driver_connection(connection)
    if driver == "asyncpg":
        return AsyncpgListener(connection, channel)
    if driver != "psycopg" or "timeout" not in signature(made.notifies).parameters:
        return None
    listen = connection.dialect.identifier_preparer.quote_identifier(channel)
    connection.execute(verbatim(f"LISTEN {listen}"))
    return (AsyncPsycopgListener if connection.dialect.is_async else PsycopgListener)(connection, channel)


def _driver_connection(connection: Connection) -> Any:
    made: Any = connection.connection.dbapi_connection
    return getattr(made, "driver_connection", made)


class PsycopgListener(Listener):
    """Waits on the connection's socket, and on one of its own by which it is woken."""

    def __init__(self, connection: Connection, channel: str) -> None:
        self._connection = _driver_connection(connection)
        self._error = connection.dialect.loaded_dbapi.Error
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)

    def wait(self, seconds: float) -> bool:
        """Wait for either socket."""
        try:
            if self._heard():
                return True
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection.fileno(), selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                selector.select(seconds)
            return self._heard()
        except self._error as error:
            raise ConnectionError(str(error)) from error

    def wake(self) -> None:
        """Write to its own socket."""
        with suppress(OSError):  # it is closed, or was woken often enough
            self._wakes.send(b".")

    def close(self) -> None:
        """Close its own sockets."""
        self._woken.close()
        self._wakes.close()

    def _heard(self) -> bool:
        return any([True for _ in self._connection.notifies(timeout=0)])


class AsyncListener(Listener):
    """Waits in the event loop of an asynchronous driver's connection."""

    def __init__(self, connection: Connection, channel: str) -> None:
        self._adapted = cast(Any, connection.connection.dbapi_connection)
        self._error = connection.dialect.loaded_dbapi.Error
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop = self._adapted.run_async(self._running_loop)

    def wait(self, seconds: float) -> bool:
        """Run the loop until something happens."""
        return bool(self._adapted.run_async(lambda driver: self._wait(driver, seconds)))

    def wake(self) -> None:
        """Have the loop find that something has happened."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    def close(self) -> None:
        """There is nothing to give back."""

    async def _running_loop(self, driver: Any) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @abstractmethod
    async def _wait(self, driver: Any, seconds: float) -> bool: ...

    async def _happened(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        self._event.clear()


class AsyncpgListener(AsyncListener):
    """Is called back by asyncpg."""

    def __init__(self, connection: Connection, channel: str) -> None:
        super().__init__(connection, channel)
        self._announced = False
        self._adapted.run_async(lambda driver: self._listen(driver, channel))

    async def _listen(self, driver: Any, channel: str) -> None:
        from asyncpg import InterfaceError, PostgresError

        driver.add_termination_listener(lambda *_: self._event.set())
        try:
            await driver.add_listener(channel, self._hear)
        except (InterfaceError, PostgresError) as error:
            raise ConnectionError(str(error)) from error

    def _hear(self, *_: object) -> None:
        self._announced = True
        self._event.set()

    async def _wait(self, driver: Any, seconds: float) -> bool:
        await self._happened(seconds)
        if driver.is_closed():
            raise ConnectionError("the connection is closed")
        heard, self._announced = self._announced, False
        return heard


class AsyncPsycopgListener(AsyncListener):
    """Waits on the connection's socket."""

    async def _wait(self, driver: Any, seconds: float) -> bool:
        try:
            if await self._heard(driver):
                return True
            loop, readable = asyncio.get_running_loop(), driver.fileno()
            loop.add_reader(readable, self._event.set)
            try:
                await self._happened(seconds)
            finally:
                loop.remove_reader(readable)
            return await self._heard(driver)
        except self._error as error:
            raise ConnectionError(str(error)) from error

    async def _heard(self, driver: Any) -> bool:
        return any([True async for _ in driver.notifies(timeout=0)])
