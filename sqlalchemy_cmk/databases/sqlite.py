"""SQLite: one writer at a time, types that only advise, and collations that a comparison can name."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import (
    CHAR,
    JSON,
    URL,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    Numeric,
    StaticPool,
    String,
    Text,
    cast,
    collate,
    create_engine,
    func,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases.base import NEVER_SCRUBBED, NOT_IN_AUTOCOMMIT, Database, Release
from sqlalchemy_cmk.databases.grams.sqlite import SQLiteGrams
from sqlalchemy_cmk.databases.read_back import KeepsAll, kept_as_bound, same
from sqlalchemy_cmk.databases.statistics.sqlite import SQLiteStatistics
from sqlalchemy_cmk.databases.surroundings.sqlite import SQLiteSurroundings
from sqlalchemy_cmk.databases.visibility.sqlite import SQLiteVisibility
from sqlalchemy_cmk.errors import ConfigurationError

_WAL_IN_USE = (
    "The write-ahead log could not be emptied, since another connection reads from it: run "
    "PRAGMA wal_checkpoint(TRUNCATE) when none does."
)


class SQLite(Database):
    """SQLite, in a file or in memory."""

    key = "sqlite"
    dialects = ("sqlite",)
    isolation_level = "SERIALIZABLE"
    locks_whole_database = True
    stores_bytes_in_any_column = True
    second_digits = 6
    visibility = SQLiteVisibility()
    surroundings = SQLiteSurroundings()
    statistics = SQLiteStatistics()
    grams = SQLiteGrams()

    # Sealed values have the default type: a VARBINARY(n) would have the affinity of numbers.

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what is stored, compared as bytes."""
        return type_coerce(collate(type_coerce(column, Text()), "BINARY"), NullType())

    def is_read_exactly(self, stored: TypeEngine[Any]) -> bool:
        """Return whether the type is plain text or bytes."""
        return isinstance(stored, LargeBinary | String) and not isinstance(stored, CHAR)

    def keeps_all(self, declared: TypeEngine[Any], stored: TypeEngine[Any]) -> KeepsAll | None:
        """Compare what the driver would be given: a column of any type may hold any value."""

        def is_same(form: Any, bound: Any) -> bool:
            # The column made a number of what it was given, and would do so again.
            if type(form) in (int, float) and isinstance(stored, Numeric | Integer | JSON):
                return bool(form == (json.loads(bound) if isinstance(bound, str) else bound))
            return same(form, bound)

        return kept_as_bound(declared, self.dialect, _as_stored, is_same)

    def length(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the bytes of what is stored: octet_length came with SQLite 3.43."""
        return func.length(cast(column, LargeBinary))

    def is_in_memory(self, url: URL) -> bool:
        """Return whether the URL names no file."""
        database = url.database or ""
        named = database == "" or ":memory:" in database or "mode=memory" in database
        return named or url.query.get("mode") == "memory"

    def place(self, connection: Connection) -> str | None:
        """Return the main database's file, by its number: it may have several names."""
        path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
        if not path:
            return None
        file = os.stat(path)
        return f"{file.st_dev}:{file.st_ino}"

    def memory_engine(self) -> Engine:
        """Return an engine with one connection, for all threads."""
        return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})

    def may_hold_lock(self, connection: Connection) -> bool:
        """Return whether the driver has begun a transaction, which it does before a write only."""
        return bool(getattr(connection.connection.driver_connection, "in_transaction", True))

    @contextmanager
    def without_waiting(self, connection: Connection) -> Iterator[None]:
        """Set ``busy_timeout`` to nothing meanwhile."""
        # By the driver: a transaction of SQLAlchemy's that has failed takes no statement.
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA busy_timeout")
        (before,) = cursor.fetchone() or (0,)
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            with suppress(sqlite3.ProgrammingError, ValueError):  # the connection was closed meanwhile
                cursor.execute(f"PRAGMA busy_timeout = {int(before)}")
                cursor.close()

    def hold(self, connection: Connection, name: str) -> Release | None:
        """Lock an empty database beside this one, by SQLite's own means; there is one for all names."""
        path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
        if not path:
            return lambda: None
        # Never deleted: another process may be about to lock it.
        lock = sqlite3.connect(f"{path}-cmk-lock", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            lock.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return None
        return lock.close

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin a transaction, which the driver would do before a write only."""
        connection.exec_driver_sql("BEGIN")

    def limit_lock_waits(self, connection: Connection) -> None:
        """Set ``busy_timeout``."""
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {self.lock_seconds * 1000}")
        connection.commit()

    def _lock_out_writers(self, connection: Connection, tables: list[str]) -> None:
        # There is one writer at a time, whichever its table; busy_timeout says how long it is waited for.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("ROLLBACK")

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether the database is locked."""
        return (_error_name(error) or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))

    def explain(self, error: DBAPIError) -> str:
        """Return SQLite's message, which names columns and never quotes a value."""
        name = _error_name(error)
        return super().explain(error) if name is None else f"{name}: {error.orig}"

    @property
    def creates_index_if_not_exists(self) -> bool:
        """It does."""
        return True

    def scrub(self, connection: Connection, table: str, patience: float) -> list[str]:
        """Rewrite the whole file, with what is freed overwritten."""
        driver = connection.connection.driver_connection
        if getattr(driver, "in_transaction", False):
            raise ConfigurationError(NOT_IN_AUTOCOMMIT)
        before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        try:
            if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'").first():
                connection.exec_driver_sql(f"ANALYZE {table}")  # its samples of indexed columns
            connection.exec_driver_sql("VACUUM")
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        finally:
            connection.exec_driver_sql(f"PRAGMA secure_delete = {int(before)}")
        return [*([_WAL_IN_USE] if busy else []), *NEVER_SCRUBBED]


def _as_stored(bound: Any) -> Any:
    if isinstance(bound, memoryview):
        return bytes(bound)
    return int(bound) if isinstance(bound, bool) else bound


def _error_name(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlite_errorname", None)
