"""Waiting until every transaction that writes to some tables now has ended.

A row that was sealed before a DEK was retired, in a transaction that is not committed, is seen by no count.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.rekey.conflicts import first_line

PATIENCE = 10


def await_writers(connection: Connection, tables: Sequence[Table]) -> None:
    """Take each table's lock against writers for a moment; those who come meanwhile wait.

    Args:
        connection: in a transaction that has done nothing; its statements commit on MariaDB.
        tables: the tables.

    Raises:
        KeyUnavailable: a transaction has been writing for more than :data:`PATIENCE` seconds, or the account
            may not lock a table.
        ConfigurationError: the database is none that this is known for.
    """
    waits = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql, "sqlite": _sqlite}
    wait = waits.get(connection.dialect.name)
    if wait is None:
        raise ConfigurationError(f"writers cannot be waited for on {connection.dialect.name}")
    format_table = connection.dialect.identifier_preparer.format_table
    try:
        wait(connection, [format_table(table) for table in tables])
        return
    except DBAPIError as error:
        reason = first_line(error)
    raise KeyUnavailable(f"not every transaction that writes to the sealed tables has ended: {reason}")


def _postgresql(connection: Connection, tables: list[str]) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}s'"))
    for table in tables:
        # Going back to the savepoint gives the lock back.
        savepoint = connection.begin_nested()
        connection.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
        savepoint.rollback()


def _mysql(connection: Connection, tables: list[str]) -> None:
    before = connection.execute(text("SELECT @@SESSION.lock_wait_timeout")).scalar_one()
    connection.execute(text(f"SET SESSION lock_wait_timeout = {PATIENCE}"))
    try:
        for table in tables:
            connection.execute(text(f"LOCK TABLES {table} READ"))
            connection.execute(text("UNLOCK TABLES"))
    finally:
        connection.execute(text(f"SET SESSION lock_wait_timeout = {int(before)}"))


def _sqlite(connection: Connection, tables: list[str]) -> None:
    # There is one writer at a time, whichever its table; busy_timeout says how long it is waited for.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.exec_driver_sql("ROLLBACK")
