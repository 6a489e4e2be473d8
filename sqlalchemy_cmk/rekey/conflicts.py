"""Which errors of a database mean that somebody else holds the rows now, and how long to wait for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

LOCK_SECONDS = 2
STATEMENT_SECONDS = 60

# https://www.postgresql.org/docs/current/errcodes-appendix.html: lock_not_available, deadlock_detected,
# serialization_failure, query_canceled (the statement's time is over)
_SQLSTATES = {"55P03", "40P01", "40001", "57014"}
# https://mariadb.com/kb/en/mariadb-error-code-reference/: lock wait timeout, deadlock, max_statement_time
_NUMBERS = {1205, 1213, 1969}


def is_conflict(error: DBAPIError) -> bool:
    """Tell whether a statement failed because others hold the rows: it may be tried again, with fewer."""
    original: Any = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state is not None:
        return state in _SQLSTATES
    number = original.args[0] if getattr(original, "args", ()) else None
    locked = getattr(original, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return number in _NUMBERS or locked


def limit_waiting(connection: Connection) -> None:
    """Have this connection give up a lock, or a statement, rather than hold others up for long."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        connection.exec_driver_sql(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
        if getattr(connection.dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {STATEMENT_SECONDS}")
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
    connection.commit()
