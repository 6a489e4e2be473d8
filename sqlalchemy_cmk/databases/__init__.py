"""The differences between databases: one file for each, found by :func:`database_of`.

To add a database, write its :class:`Database` and list it in :data:`DATABASES`. Migrations that convert
its columns need a file of the same name in ``alembic/conversion/``.
"""

from __future__ import annotations

from sqlalchemy import Dialect

from sqlalchemy_cmk.databases.base import Database
from sqlalchemy_cmk.databases.mariadb import MariaDB
from sqlalchemy_cmk.databases.postgresql import PostgreSQL
from sqlalchemy_cmk.databases.sqlite import SQLite

__all__ = ["DATABASES", "Database", "database_of"]

DATABASES: tuple[type[Database], ...] = (SQLite, PostgreSQL, MariaDB)
_BY_DIALECT = {dialect: database for database in DATABASES for dialect in database.dialects}


def database_of(dialect: Dialect) -> Database:
    """Return the database that a dialect connects to; the defaults where it is not listed."""
    return _BY_DIALECT.get(dialect.name, Database)(dialect)
