"""SQL that is written by hand, over tables with sealed columns: ``wrap`` a driver's connection."""

from sqlalchemy_cmk.dbapi.aio import wrap_async
from sqlalchemy_cmk.dbapi.aio.aiosqlite_connection import AiosqliteConnection
from sqlalchemy_cmk.dbapi.aio.asyncpg_connection import AsyncpgConnection
from sqlalchemy_cmk.dbapi.connection import Connection
from sqlalchemy_cmk.dbapi.cursor import Cursor
from sqlalchemy_cmk.dbapi.engines import transparent
from sqlalchemy_cmk.dbapi.wrapping import wrap

__all__ = [
    "AiosqliteConnection",
    "AsyncpgConnection",
    "Connection",
    "Cursor",
    "transparent",
    "wrap",
    "wrap_async",
]
