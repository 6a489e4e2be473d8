"""Connections of asyncpg and aiosqlite whose rows are opened, and whose values are sealed."""

from sqlalchemy_cmk.dbapi.aio.wrapping import wrap_async

__all__ = ["wrap_async"]
