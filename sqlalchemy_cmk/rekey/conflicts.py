"""What errors of a database mean to a worker, and how long it waits for rows that others hold."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from sqlalchemy_cmk.orm.columns import MYSQL

LOCK_SECONDS = 2
STATEMENT_SECONDS = 60

# https://www.postgresql.org/docs/current/errcodes-appendix.html: lock_not_available, deadlock_detected,
# serialization_failure, query_canceled (the statement's time is over)
_SQLSTATES = {"55P03", "40P01", "40001", "57014"}
# https://mariadb.com/kb/en/mariadb-error-code-reference/: lock wait timeout, deadlock, max_statement_time
_NUMBERS = {1205, 1213, 1969}
# Out of resources, cancelled, shut down, not permitted, no such thing: these messages quote no value.
_HARMLESS_CLASSES = {"08", "25", "40", "42", "53", "55", "57", "58"}
_HARMLESS_NUMBERS = {1021, 1030, 1053, 1114, 1142, 1143, 1180, 1205, 1213, 1290, 1836, 1927, 1969, 2006, 2013}
# MariaDB's numbers for a value that does not fit, of which its driver makes an OperationalError.
_MISFITS = {1264, 1265, 1292, 1366, 1406, 4025}


def is_conflict(error: DBAPIError) -> bool:
    """Tell whether a statement failed because others hold the rows: it may be tried again, with fewer."""
    locked = getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return locked or _state(error) in _SQLSTATES or _number(error) in _NUMBERS


def is_misfit(error: DBAPIError) -> bool:
    """Tell whether the database refused a value: too long, out of range, or against a constraint."""
    return isinstance(error, DataError | IntegrityError) or _number(error) in _MISFITS


def first_line(error: BaseException) -> str:
    """Return the first line of what a database says, without the statement: for statements without values."""
    return str(_said(error)).partition("\n")[0]


def complaint(error: BaseException) -> str:
    """Return :func:`first_line` behind the class of the error."""
    return f"{type(_said(error)).__name__}: {first_line(error)}"


def _said(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def explained(error: DBAPIError) -> str:
    """Return what a database complains of, without what it may quote: a value of a row."""
    original: Any = error.orig
    name = type(original).__name__
    sqlite = getattr(original, "sqlite_errorname", None)
    if sqlite is not None:
        return f"{sqlite}: {original}"
    state, number = _state(error), _number(error)
    if isinstance(number, int):
        return f"{name} {number}" + (f": {original.args[-1]}" if number in _HARMLESS_NUMBERS else "")
    if state is not None:
        told = getattr(original, "diag", None)
        if state[:2] in _HARMLESS_CLASSES:
            return f"{name} {state}: {getattr(told, 'message_primary', None) or ''}".rstrip(": ")
        where = getattr(told, "constraint_name", None) or getattr(told, "column_name", None)
        return f"{name} {state}" + (f" at {where}" if where else "")
    return name


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _number(error: DBAPIError) -> Any:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


def limit_waiting(connection: Connection) -> None:
    """Have a connection's writes give up a lock rather than hold others up for long.

    On MySQL and MariaDB it also refuses values that do not fit, whatever the server's mode.
    """
    if connection.dialect.name in MYSQL:
        connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
        # Otherwise a value that is too long for its column would be cut off.
        connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
    connection.commit()


def limit_statements(connection: Connection) -> None:
    """Have PostgreSQL end what takes long in this transaction, while reads outside of it take their time."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            f"SELECT set_config('lock_timeout', '{LOCK_SECONDS}s', true), "
            f"set_config('statement_timeout', '{STATEMENT_SECONDS}s', true)"
        )
