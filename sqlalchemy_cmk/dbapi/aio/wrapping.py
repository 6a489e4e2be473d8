"""``wrap_async``: an async driver's own connection that seals what it sends and opens what it fetches."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection as BoundConnection
from sqlalchemy import MetaData, StaticPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from sqlalchemy_cmk.databases.sql_text import ASYNC_DRIVERS
from sqlalchemy_cmk.dbapi.aio.aiosqlite_connection import AiosqliteConnection
from sqlalchemy_cmk.dbapi.aio.asyncpg_connection import AsyncpgConnection
from sqlalchemy_cmk.dbapi.aio.lent import LentAiosqlite, LentAsyncpg
from sqlalchemy_cmk.dbapi.aio.sealer import Sealer
from sqlalchemy_cmk.dbapi.lent import driver_of, drivers_own
from sqlalchemy_cmk.dbapi.statements import Statements
from sqlalchemy_cmk.dbapi.wrapping import protected_metadata, schema_of
from sqlalchemy_cmk.keys import Keyring


async def wrap_async(
    connection: Any, keyring: Keyring, tables: MetaData | Any
) -> AsyncpgConnection | AiosqliteConnection:
    """Return a driver's connection, with its interface, that opens what it fetches and seals what it sends.

    As :func:`~sqlalchemy_cmk.dbapi.wrap` for drivers of asyncio; needs SQLAlchemy's ``[asyncio]``.

    Args:
        connection: a connection of ``asyncpg``, also one of its pools, or of ``aiosqlite``, to a database
            that the keyring serves.
        keyring: the keyring, which protects ``tables``.
        tables: the declarative base, or its ``MetaData``.

    Raises:
        ConfigurationError: the driver is not known, the keyring does not protect the tables, or does not
            serve the database that the connection leads to.
    """
    metadata = protected_metadata(keyring, tables)
    raw = drivers_own(connection)
    driver = driver_of(raw, ASYNC_DRIVERS)
    if driver == ASYNC_DRIVERS["asyncpg"]:
        bound, statements = await _bound(driver, LentAsyncpg(raw), keyring, metadata)
        return AsyncpgConnection(raw, Sealer(bound, statements, keeps_transaction=False))
    began = not raw.in_transaction
    lent = LentAiosqlite(raw)
    try:
        bound, statements = await _bound(driver, lent, keyring, metadata)
    finally:
        if began and raw.in_transaction:
            await raw.rollback()
    return AiosqliteConnection(raw, lent, Sealer(bound, statements, keeps_transaction=True))


async def _bound(
    driver: str, lent: LentAsyncpg | LentAiosqlite, keyring: Keyring, metadata: MetaData
) -> tuple[AsyncConnection, Statements]:
    async def lend(*_: object, **__: object) -> Any:
        return lent

    engine = create_async_engine(
        f"{driver}://", async_creator=lend, poolclass=StaticPool, pool_reset_on_return=None
    )
    bound = await engine.connect()

    def read(connection: BoundConnection) -> Statements:
        connection.detach()  # dropped without being given back, it is no leak
        keyring.for_connection(connection)
        # In a dry run values are stored as they are.
        schema = schema_of(metadata if keyring.dry_run is None else MetaData(), connection)
        return Statements(schema, connection.dialect)

    statements = await bound.run_sync(read)
    await bound.rollback()  # of SQLAlchemy's own, which has not begun one
    return bound, statements
