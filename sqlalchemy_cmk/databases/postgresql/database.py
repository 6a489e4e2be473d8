"""The :class:`~sqlalchemy_cmk.databases.Database` of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    CHAR,
    Connection,
    Enum,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    cast,
    collate,
    func,
)
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases.base import NEVER_SCRUBBED, Database, Release
from sqlalchemy_cmk.databases.batch_update import BatchUpdate, Write
from sqlalchemy_cmk.databases.grams.postgresql import PostgreSQLGrams
from sqlalchemy_cmk.databases.listening import Listener
from sqlalchemy_cmk.databases.postgresql import arrays, listening, scrub
from sqlalchemy_cmk.databases.quoting import Quoting, verbatim
from sqlalchemy_cmk.databases.read_back import KeepsAll, kept_by_cast
from sqlalchemy_cmk.databases.reading import RowReader
from sqlalchemy_cmk.databases.statistics.postgresql import PostgreSQLStatistics
from sqlalchemy_cmk.databases.surroundings.postgresql import PostgreSQLSurroundings
from sqlalchemy_cmk.databases.visibility.postgresql import PostgreSQLVisibility

# https://www.postgresql.org/docs/current/errcodes-appendix.html: lock_not_available, deadlock_detected,
# serialization_failure, query_canceled (the statement's time is over)
_CONFLICTS = {"55P03", "40P01", "40001", "57014"}
# deadlock_detected, serialization_failure
_OUT_OF_DATE = {"40P01", "40001"}
# Data exceptions, and values against a constraint.
_MISFIT_CLASSES = {"22", "23"}
# Out of resources, cancelled, shut down, not permitted, no such thing: these messages quote no value.
_HARMLESS_CLASSES = {"08", "25", "40", "42", "53", "55", "57", "58"}

_PLACE = (
    "SELECT to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS') || ':' || oid "
    "FROM pg_database WHERE datname = current_database()"
)


class PostgreSQL(Database):
    """PostgreSQL, by psycopg or asyncpg."""

    key = "postgresql"
    dialects = ("postgresql",)
    keeps_time_zones = True
    second_digits = 6
    decimal_digits = None
    has_unlimited_decimals = True
    visibility = PostgreSQLVisibility()
    surroundings = PostgreSQLSurroundings()
    statistics = PostgreSQLStatistics()
    grams = PostgreSQLGrams()

    @property
    def _is_psycopg(self) -> bool:
        return self.dialect.driver == "psycopg"

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the text of what is stored, under the collation that compares bytes."""
        return collate(cast(column, Text), "C")

    def rows_digest(self, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        """Return the sum of each row's hash: a row's text is in quotes where it has to be, and NULL empty."""
        return func.sum(func.hashtextextended(cast(func.row(*columns), Text), 0))

    def is_read_exactly(self, stored: TypeEngine[Any]) -> bool:
        """Return whether the type is text or bytes; a CHAR(n) is read with blanks that no comparison sees."""
        return isinstance(stored, LargeBinary | String) and not isinstance(stored, CHAR)

    def hold(self, connection: Connection, name: str) -> Release | None:
        """Take an advisory lock of the session."""
        key = {"key": int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)}
        if not connection.execute(sql("SELECT pg_try_advisory_lock(:key)"), key).scalar_one():
            return None
        return partial(connection.execute, sql("SELECT pg_advisory_unlock(:key)"), key)

    def announce(self, connection: Connection, channel: str) -> None:
        """Notify them, which PostgreSQL does at the commit."""
        connection.execute(sql("SELECT pg_notify(:channel, '')"), {"channel": channel})

    def listener(self, connection: Connection, channel: str) -> Listener | None:
        """Listen by psycopg or asyncpg."""
        return listening.listener(connection, channel)

    def keeps_all(self, declared: TypeEngine[Any], stored: TypeEngine[Any]) -> KeepsAll | None:
        """Have the server cast them, but for texts and bytes, which are read as they are."""
        for kind in (String, LargeBinary, Integer):
            if isinstance(declared, kind) and isinstance(stored, kind) and not _changes(declared, stored):
                return None
        return kept_by_cast(declared, self.exact)

    def length(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the bytes of text and bytes, which it knows without reading a long value, or of the text."""
        is_long = isinstance(column.type, LargeBinary | String) and not isinstance(column.type, Enum)
        return super().length(column if is_long else cast(column, Text))

    def place(self, connection: Connection) -> str | None:
        """Return when the server was started, to the microsecond, and the database's number there.

        The system identifier is no help: a server restored from another's files has the same.
        """
        return str(connection.exec_driver_sql(_PLACE).scalar_one())

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin the transaction at REPEATABLE READ."""
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def limit_statements(self, connection: Connection) -> None:
        """Limit the statements of this transaction, so that reads outside of it take their time."""
        connection.exec_driver_sql(
            f"SELECT set_config('lock_timeout', '{self.lock_seconds}s', true), "
            f"set_config('statement_timeout', '{self.statement_seconds}s', true)"
        )

    def _lock_out_writers(self, connection: Connection, tables: list[str]) -> None:
        connection.execute(sql(f"SET LOCAL lock_timeout = '{self.writer_seconds}s'"))
        for table in tables:
            # Going back to the savepoint gives the lock back.
            savepoint = connection.begin_nested()
            connection.execute(verbatim(f"LOCK TABLE {table} IN SHARE MODE"))
            savepoint.rollback()

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether a lock or the statement took too long, or others were in a deadlock with it."""
        return _sqlstate(error) in _CONFLICTS

    def is_out_of_date(self, error: DBAPIError) -> bool:
        """Return whether other transactions have ended the snapshot."""
        return _sqlstate(error) in _OUT_OF_DATE

    def is_misfit(self, error: DBAPIError) -> bool:
        """Return whether a value was refused, whatever class of error the driver makes of that."""
        if super().is_misfit(error) or (_sqlstate(error) or "")[:2] in _MISFIT_CLASSES:
            return True
        return isinstance(_of_driver(error), ValueError)  # what asyncpg itself cannot encode

    def explain(self, error: DBAPIError) -> str:
        """Return the error's SQLSTATE, with its message where that quotes no value."""
        of_driver, state = _of_driver(error), _sqlstate(error)
        name = type(of_driver).__name__
        if state is None:
            return name
        diagnostics = getattr(of_driver, "diag", None)
        if state[:2] in _HARMLESS_CLASSES:
            message = getattr(diagnostics, "message_primary", None) or getattr(of_driver, "message", None)
            return f"{name} {state}: {message or ''}".rstrip(": ")
        about = of_driver if diagnostics is None else diagnostics
        where = getattr(about, "constraint_name", None) or getattr(about, "column_name", None)
        return f"{name} {state}" + (f" at {where}" if where else "")

    @property
    def concurrently(self) -> str:
        """CONCURRENTLY."""
        return "CONCURRENTLY "

    def is_index_valid(self, connection: Connection, schema: str | None, name: str) -> bool:
        """Return what the catalogue says: one that failed halfway stays there, and is not used."""
        query = sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
        return bool(connection.execute(query, {"name": Quoting(self.dialect).table(name, schema)}).scalar())

    def estimated_rows(self, connection: Connection, table: Table) -> int | None:
        """Return the planner's estimate."""
        query = sql("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)")
        name = Quoting(self.dialect).table(table.name, table.schema)
        found = connection.execute(query, {"name": name}).scalar()
        return None if found is None else int(found)

    def row_reader(self) -> RowReader:
        """Return a reader that has psycopg take rows in binary where that gives the same values."""
        if not self._is_psycopg:
            return super().row_reader()
        from sqlalchemy_cmk.databases.postgresql.psycopg_binary import BinaryRowReader

        return BinaryRowReader()

    def batch_writer(self, update: BatchUpdate, connection: Connection) -> Write:
        """Return a writer that takes the rows as arrays, for sealed values."""
        if not update.writes_bytes_only:
            return super().batch_writer(update, connection)
        if not self._is_psycopg:
            return arrays.writer(update)
        from sqlalchemy_cmk.databases.postgresql.psycopg_binary import binary_writer

        return binary_writer(update, self.dialect)

    @property
    def creates_index_if_not_exists(self) -> bool:
        """It does."""
        return True

    def scrub(self, connection: Connection, table: str, patience: float) -> list[str]:
        """Write the table and its statistics again, once older transactions have ended."""
        return [*scrub.scrub(connection, table, patience), *NEVER_SCRUBBED]


def _changes(declared: TypeEngine[Any], stored: TypeEngine[Any]) -> bool:
    return any(isinstance(one, CHAR | Enum) for one in (declared, stored))


def _of_driver(error: DBAPIError) -> BaseException | None:
    """Return the driver's own error: SQLAlchemy's asyncpg keeps it as the cause of one that it makes."""
    made = error.orig
    if made is None or not type(made).__module__.startswith("sqlalchemy."):
        return made
    return made.__cause__


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
