"""PostgreSQL under the scheduler: its own locks, which a statement that has to wait learns of at once.

One thread runs all processes, so the holder of a lock stands still while another waits for it: the server
would never grant it. It gives up after `LOCK_TIMEOUT`, the statement is undone by a savepoint, and is tried
again when others may have given the lock back. A `lock_timeout` of the library passes on the simulated clock.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from sqlalchemy import make_url, text

from tests.simulation.access import Troubles
from tests.simulation.models import CONVERTED
from tests.simulation.wire import Wire, is_partial
from tests.simulation.world import make_tables
from tests.support.databases import administration, drop_postgresql, quickly

T = TypeVar("T")

LOCK_TIMEOUT = "1ms"
PATIENCE = 30.0
_SET_TIMEOUT = re.compile(r"(lock_timeout'?(?: =|,) ')(\d+)(ms|s)'")
# What the driver asks when it connects.
_TYPES = re.compile(r"FROM pg_type t\s")
_SAVEPOINT, _RELEASE, _BACK = (
    b"SAVEPOINT simulated",
    b"RELEASE simulated",
    b"ROLLBACK TO simulated; RELEASE simulated",
)


class Connection(psycopg.Connection[Any]):
    """A connection of a simulated process."""

    wire: Wire | None = None
    patience = PATIENCE
    wrote = False
    made: frozenset[bytes] = frozenset()
    made_before: dict[str, frozenset[bytes]]

    def commit(self) -> None:
        if self.wire is None or self._status is TransactionStatus.IDLE:
            super().commit()
            return
        with self.wire.committing(self, "COMMIT", self.lost):
            super().commit()
        self.patience = PATIENCE

    def rollback(self) -> None:
        if self.wire is not None and self._status is not TransactionStatus.IDLE:
            self.wire.ending(self, "ROLLBACK")
        super().rollback()
        self._stirred()

    def close(self) -> None:
        super().close()
        self._stirred()

    def lost(self) -> Exception:
        """What the driver raises where the outside fails."""
        return errors.OperationalError("the connection is lost (simulated)")

    def run(self, sql: str, parameters: Any, execute: Callable[[str], T]) -> T:
        if self.wire is None or _TYPES.search(sql):
            return execute(sql)
        word = sql.split(None, 1)[0].upper()
        timeout = _SET_TIMEOUT.search(sql)
        if timeout:
            self.patience = int(timeout[2]) / (1000 if timeout[3] == "ms" else 1)
            return execute(_SET_TIMEOUT.sub(rf"\g<1>{LOCK_TIMEOUT}'", sql))
        if word in ("SET", "BEGIN", "SAVEPOINT", "RELEASE"):
            return execute(sql)
        if word == "COMMIT":
            with self.wire.committing(self, sql, self.lost):
                result = execute(sql)
            self.patience = PATIENCE
            return result
        if word == "ROLLBACK":
            if is_partial(sql):
                self.wire.going_back(self, sql)
            else:
                self.wire.ending(self, sql)
            result = execute(sql)
            self._stirred()
            return result
        self.wire.statement(self, sql, parameters, self.lost)
        result = self._patiently(lambda: execute(sql))
        if self._status is TransactionStatus.IDLE:
            self.wire.committed(self)
        self.wire.answered(sql)
        return result

    @property
    def _status(self) -> TransactionStatus:
        return self.info.transaction_status

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do what may have to wait for a lock, again and again, for as long as `lock_timeout` says."""
        assert self.wire is not None
        until = self.wire.scheduler.now + self.patience
        while True:
            inside = self._status is TransactionStatus.INTRANS
            if inside:
                self.pgconn.exec_(_SAVEPOINT)
            try:
                result = work()
            except errors.LockNotAvailable:
                left = until - self.wire.scheduler.now
                if left <= 0:
                    self.wire.process.troubles.note(Troubles.DATABASE)
                    raise
                if inside:
                    self.pgconn.exec_(_BACK)
                elif self._status is not TransactionStatus.IDLE:
                    super().rollback()  # it was the first of its transaction
            else:
                if inside:
                    self.pgconn.exec_(_RELEASE)
                return result
            self.wire.await_others(left)

    def _stirred(self) -> None:
        if self.wire is not None:
            self.wire.stirred()


class Cursor(psycopg.Cursor[Any]):
    """A cursor of a simulated process."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        connection: Any = self.connection
        execute = super().execute
        if not isinstance(query, str):
            return execute(query, params, **options)
        return connection.run(query, params or (), lambda sql: execute(sql, params, **options))

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        connection: Any = self.connection
        execute, many = super().executemany, list(params_seq)
        connection.run(query, many, lambda sql: execute(sql, many, **options))


class PostgreSQLDatabase:
    """One database of a server, for the processes and for the world that looks on."""

    name = "postgresql"

    def __init__(self, server_url: str, database: str) -> None:
        url = make_url(server_url).set(database=database)
        self.url = url.set(drivername="postgresql+simulated").render_as_string(hide_password=False)
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._options = f"-c lock_timeout={LOCK_TIMEOUT}"
        self._watch = psycopg.connect(self._address, autocommit=True, options=self._options)

    def connect(self, wire: Wire) -> Connection:
        """A new connection of a process."""
        made = Connection.connect(self._address, options=self._options, cursor_factory=Cursor)
        made.wire, made.made_before = wire, {}
        return made

    def drop(self, connection: Any) -> None:
        """Close a connection as the end of its process would, and wait until its locks are given back."""
        if connection.closed:
            return
        pid = connection.info.backend_pid
        connection.pgconn.finish()
        while self._watch.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall():
            time.sleep(0.001)

    def begin_writing(self, connection: Any) -> None:
        """Begin a transaction in which no migration can change the form of a column."""
        connection.exec_driver_sql(f"LOCK TABLE {CONVERTED} IN ROW EXCLUSIVE MODE")

    def rows(self, query: str) -> list[tuple[Any, ...]] | None:
        """What is committed; `None` where a migration has locked the table."""
        try:
            return self._watch.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]
        except errors.LockNotAvailable:
            return None

    def close(self) -> None:
        self._watch.close()


class PostgreSQLDatabases:
    """Empty databases of a server, with the tables in them."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._world = f"cmk_simulation_{secrets.token_hex(8)}"
        self._template = f"{self._world}_template"
        self._make(self._template, "template1")
        made = PostgreSQLDatabase(server_url, self._template)
        make_tables(made)
        made.close()

    @contextmanager
    def new(self, seed: int) -> Iterator[PostgreSQLDatabase]:
        self._make(self._world, self._template)
        database = PostgreSQLDatabase(self._server_url, self._world)
        try:
            yield database
        finally:
            database.close()

    def close(self) -> None:
        for name in (self._world, self._template):
            self._drop(name)

    def _make(self, name: str, template: str) -> None:
        self._drop(name)
        with administration(self._server_url).connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}{quickly(connection)}"))

    def _drop(self, name: str) -> None:
        with administration(self._server_url).connect() as connection:
            drop_postgresql(connection, name)
