"""A table of a job as the database has it."""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import NoSuchTableError

from sqlalchemy_cmk.databases.reflection import reflected_table
from sqlalchemy_cmk.errors import ConfigurationError


def reflected(metadata: MetaData, name: str, schema: str | None, connection: Connection) -> Table:
    """Return a table as the database has it.

    Raises:
        ConfigurationError: there is none of this name.
    """
    try:
        return reflected_table(connection, name, schema, metadata)
    except NoSuchTableError:
        pass
    raise ConfigurationError(f"there is no table {name!r} in this database")
