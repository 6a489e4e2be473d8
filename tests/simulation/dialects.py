"""Dialects whose engines share compiled statements: to compile them takes longer than to run them.

SQLAlchemy looks a compiled statement up by its dialect. Each process has engines, so dialects, of its own.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from sqlalchemy_cmk.keys.storage.tables import KeyTables, make_all_tables

_COMPILED: Any = LRUCache(3000)

# What each keyring would make again, and describes the same tables.
key_metadata = MetaData()

create_engine = partial(sqlalchemy.create_engine, execution_options={"compiled_cache": _COMPILED})


@cache
def all_tables(metadata: MetaData, prefix: str) -> KeyTables:
    """The key tables of a metadata, made once."""
    return make_all_tables(metadata, prefix)


class _Equal:
    """Dialects of one class are one key of the cache."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class SQLite(_Equal, SQLiteDialect_pysqlite):
    """SQLite's."""

    supports_statement_cache = True


class PostgreSQL(_Equal, PGDialect_psycopg):
    """PostgreSQL's, by psycopg."""

    supports_statement_cache = True


registry.register("sqlite.simulated", __name__, "SQLite")
registry.register("postgresql.simulated", __name__, "PostgreSQL")
