"""Makes sure that every row of a table is seen, before what its rows need is destroyed or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import ConfigurationError

Work = Callable[[Connection], Any]


def refuse_hidden(connection: Connection, tables: Iterable[Table]) -> None:
    """Refuse tables of which a connection may not see every row.

    Args:
        connection: the one that reads them.
        tables: the tables.

    Raises:
        ConfigurationError: one is a view or a foreign table, has policies that hide rows from this role, is
            read from a replica, or the like.
    """
    visibility = database_of(connection.dialect).visibility
    for table in tables:
        reason = visibility.hidden(connection, table)
        if reason:
            raise ConfigurationError(f"{table.fullname} {reason}")


def refuse_contradicted(run: Callable[[Work], Any], table: Table, counted: int) -> None:
    """Refuse a count of a table's rows that the database's own statistics contradict.

    They may be out of date: then the table is analyzed, where the account may, and they are asked again.

    Args:
        run: runs a unit of work in a transaction of its own.
        table: the table.
        counted: how many rows were seen.

    Raises:
        ConfigurationError: there are more than twice as many rows by PostgreSQL's estimate, or four times as
            many by MariaDB's.
    """

    def estimated(connection: Connection) -> int:
        return database_of(connection.dialect).visibility.contradicts(connection, table, counted)

    def refresh(connection: Connection) -> None:
        database_of(connection.dialect).visibility.refresh(connection, table)

    if not run(estimated):
        return
    with suppress(DBAPIError):
        run(refresh)
    estimate = run(estimated)
    if estimate:
        raise ConfigurationError(
            f"{table.fullname}: {counted} rows were seen, and the database's statistics say {estimate}: find "
            "out what hides the others; if they were just deleted, run ANALYZE on it as its owner first"
        )
