"""SQLite under the scheduler: others may go first at each statement, and go on while one waits for a lock."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from tests.simulation.access import Troubles
from tests.simulation.wire import Wire, is_partial

T = TypeVar("T")

PATIENCE = 5.0
_BUSY, _LOCKED = 5, 6
_LEVEL: Any = sqlite3.Connection.isolation_level
_BUSY_SNAPSHOT = 517
_TIMEOUT = re.compile(r"PRAGMA busy_timeout(?: = (\d+))?")


class Connection(sqlite3.Connection):
    """A connection of a simulated process."""

    wire: Wire
    cursors: WeakSet[Cursor]
    patience = PATIENCE
    wrote = False
    made: frozenset[bytes] = frozenset()
    made_before: dict[str, frozenset[bytes]]

    @property
    def isolation_level(self) -> Any:
        return _LEVEL.__get__(self)

    @isolation_level.setter
    def isolation_level(self, level: Any) -> None:
        if level is None:
            self.commit()  # the driver would, and wait for a lock in real time
        _LEVEL.__set__(self, level)

    def cursor(self, factory: Any = None) -> Any:
        made = super().cursor(Cursor)
        self.cursors.add(made)
        return made

    def commit(self) -> None:
        if self.in_transaction:
            with self.wire.committing(self, "COMMIT", self.lost):
                self.patiently(super().commit)

    def rollback(self) -> None:
        if self.in_transaction:
            self.wire.ending(self, "ROLLBACK")
        super().rollback()
        self.wire.stirred()

    def close(self) -> None:
        super().close()
        self.wire.stirred()

    def lost(self) -> Exception:
        """What the driver raises where the outside fails."""
        return sqlite3.OperationalError("disk I/O error (simulated)")

    def run(self, sql: str, parameters: Any, execute: Callable[[str, Any], T]) -> T:
        timeout = _TIMEOUT.match(sql)
        if timeout:
            # SQLite would wait in real time, and nobody else runs meanwhile.
            if timeout[1]:
                self.patience = int(timeout[1]) / 1000
            return execute(f"SELECT {int(self.patience * 1000)}", ())
        word = sql.split(None, 1)[0].upper()
        if word == "PRAGMA":
            return self.patiently(lambda: execute(sql, parameters))
        if word in ("COMMIT", "END"):
            with self.wire.committing(self, sql, self.lost):
                return self.patiently(lambda: execute(sql, parameters))
        if word == "ROLLBACK":
            if is_partial(sql):
                self.wire.going_back(self, sql)
            else:
                self.wire.ending(self, sql)
            return execute(sql, parameters)
        self.wire.statement(self, sql, parameters, self.lost)
        result = self.patiently(lambda: execute(sql, parameters))
        if not self.in_transaction and word != "SELECT":
            self.wire.committed(self)
        self.wire.answered(sql)
        return result

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what may find the file locked, again and again, as the driver would for its timeout."""
        until = self.wire.scheduler.now + self.patience
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                code = error.sqlite_errorcode
                left = until - self.wire.scheduler.now
                if code & 0xFF not in (_BUSY, _LOCKED):
                    raise
                if code == _BUSY_SNAPSHOT or left <= 0:
                    self.wire.process.troubles.note(Troubles.DATABASE)
                    raise
            self.wire.await_others(left)


class Cursor(sqlite3.Cursor):
    """A cursor of a simulated process."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        return self.connection.run(sql, parameters, super().execute)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        return self.connection.run(sql, list(parameters), super().executemany)


class SQLiteFile:
    """One database file, for the processes and for the world that looks on."""

    name = "sqlite"

    def __init__(self, path: Path, *, wal: bool) -> None:
        self.url = f"sqlite+simulated:///{path}"
        self._path = path
        self._watch = sqlite3.connect(path, isolation_level=None, timeout=0)
        if wal:
            self._watch.execute("PRAGMA journal_mode = WAL")
            self._watch.execute("PRAGMA synchronous = OFF")

    def connect(self, wire: Wire) -> Connection:
        """A new connection of a process."""
        made = sqlite3.connect(self._path, timeout=0, check_same_thread=False, factory=Connection)
        made.wire, made.cursors, made.made_before = wire, WeakSet(), {}
        return made

    def drop(self, connection: Any) -> None:
        """Close a connection as the end of its process would."""
        with suppress(sqlite3.ProgrammingError):  # it is closed
            for cursor in getattr(connection, "cursors", ()):  # the library's own have none
                cursor.close()  # one with rows to come would keep the lock
            sqlite3.Connection.rollback(connection)
            sqlite3.Connection.close(connection)

    def begin_writing(self, connection: Any) -> None:
        """Begin a transaction in which no migration can change the form of a column."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def rows(self, query: str) -> list[tuple[Any, ...]] | None:
        """What is committed; `None` where a process that commits waits for readers, and locks others out."""
        try:
            return self._watch.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != _BUSY:
                raise
            return None

    def close(self) -> None:
        self._watch.close()
