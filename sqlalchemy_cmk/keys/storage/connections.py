"""The keyring's own connections, separate from the application's so that the two cannot deadlock.

A new key is committed in a transaction of its own, and a row that needs an unknown DEK must not wait for a
connection that its own caller holds. Each unit of work here is one short transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, Pool, QueuePool, StaticPool, create_engine, event
from sqlalchemy.pool import SingletonThreadPool

from sqlalchemy_cmk.databases import Database, database_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.storage.own_loops import OwnLoops
from sqlalchemy_cmk.keys.storage.turns import Turns
from sqlalchemy_cmk.runtime.blocking import off_the_loop

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Work = Callable[[Connection], T]

# The connections of an asynchronous driver where the application's pool has no size.
AT_ONCE = 5

_memory_engines: WeakKeyDictionary[Engine, tuple[Engine, Any]] = WeakKeyDictionary()


class Connections:
    """Runs units of work on connections of the keyring's own; under SQLAlchemy's asyncio bridge off the loop.

    Args:
        engine: the application's engine, whose URL, driver arguments and pool settings are used. An
            in-memory SQLite database is visible to one connection only, so its keys live in a second
            in-memory database that is dropped with the engine.

    Attributes:
        url: the URL of the application's database.
        database: what kind of database it is.
        in_memory: whether it is SQLite in memory.
    """

    def __init__(self, engine: Engine | AsyncEngine) -> None:
        self._lock: Any = nullcontext()
        self._own: WeakSet[Engine] = WeakSet()
        self._loops: OwnLoops | None = None
        sync = engine if isinstance(engine, Engine) else engine.sync_engine
        self.url = sync.url
        self.database = database_of(sync.dialect)
        self.in_memory = self.database.is_in_memory(sync.url)
        self._turns = Turns() if self.database.locks_whole_database and not self.in_memory else None
        self._taken: dict[Connection, threading.Event | None] = {}
        self._dedicated_engine: Engine | None = None
        if self.in_memory:
            made, self._lock = _memory_engine(sync, self.database)
            self._engine = self._owned(made)
        elif not isinstance(engine, Engine):
            self._loops = OwnLoops(partial(self._engine_of_a_loop, sync.pool.recreate()), _at_once(sync.pool))
        elif isinstance(sync.pool, StaticPool | SingletonThreadPool):
            self._engine = self._owned(create_engine(sync.url, **self._transactional))
        else:
            self._engine = self._engine_with(sync.pool.recreate())

    @property
    def _transactional(self) -> dict[str, Any]:
        # The application's engine may be set to AUTOCOMMIT, which is not used here: a DEK is never written
        # without its wrapping. Errors show no parameters: re-keying compares with plaintexts of columns that
        # are being sealed, and writes plaintexts to columns that are being opened.
        return {"isolation_level": self.database.isolation_level, "hide_parameters": True}

    def owns(self, engine: Engine) -> bool:
        """Return whether an engine is one of these connections' own, and not the application's."""
        return engine in self._own

    def run(self, work: Work[T], wait_for_lock: bool = True) -> T:
        """Run one unit of work in a transaction of its own and commit it.

        Args:
            work: called with the connection.
            wait_for_lock: whether to wait where one lock is held on the whole database, as by SQLite.

        Raises:
            ConfigurationError: called directly from a coroutine on an async engine.
        """
        unit = partial(self._committed if wait_for_lock else self._without_waiting, work)
        return off_the_loop(partial(self._run, unit), place="units of work")

    def use(self, work: Work[T], *, autocommit: bool = False) -> T:
        """Run work that begins and commits its own transactions, on a connection opened for it alone.

        The work may run for hours: its connection is not from a pool that other callers wait for.

        Args:
            work: called with the connection, with no transaction begun.
            autocommit: whether each statement commits by itself.

        Raises:
            ConfigurationError: the database is SQLite in memory, which no second connection can see; or the
                call is made directly from a coroutine on an async engine.
        """
        if self.in_memory:
            raise ConfigurationError(
                "an in-memory SQLite database is visible to one connection only: use a database file"
            )
        options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        return off_the_loop(partial(self._run_apart, work, options), place="long work")

    def _run(self, work: Work[T]) -> T:
        if self._loops is not None:
            return self._loops.run(work)
        with self._lock, self._engine.connect() as connection:
            return work(connection)

    def _run_apart(self, work: Work[T], options: dict[str, Any]) -> T:
        if self._loops is not None:
            return self._loops.run_apart(work, **options)
        # Its connections are all detached: the engine keeps its compiled statements and no connection.
        if self._dedicated_engine is None:
            self._dedicated_engine = self._engine_with(self._engine.pool.recreate())
        with self._dedicated_engine.connect().execution_options(**options) as connection:
            connection.detach()
            return work(connection)

    def after_fork(self) -> None:
        """Forget the parent's connections without closing them."""
        if self.in_memory:
            self._lock = threading.RLock()
        elif self._loops is not None:
            self._loops.after_fork()
        else:
            self._engine.dispose(close=False)
            self._dedicated_engine = None
        if self._turns is not None:
            self._turns, self._taken = Turns(), {}

    def close(self) -> None:
        """Close every open connection."""
        if self._loops is not None:
            self._loops.close()
        elif not self.in_memory:
            self._engine.dispose()
            if self._dedicated_engine is not None:
                self._dedicated_engine.dispose()

    def _committed(self, work: Work[T], connection: Connection) -> T:
        turns, self._taken[connection] = self._turns, None
        try:
            return _committed(work, connection)
        finally:
            turn = self._taken.pop(connection)
            if turn is not None and turns is not None:
                turns.end(turn)

    def _without_waiting(self, work: Work[T], connection: Connection) -> T:
        with self.database.without_waiting(connection):
            return _committed(work, connection)

    def _engine_with(self, pool: Pool) -> Engine:
        return self._owned(create_engine(self.url, pool=pool, **self._transactional))

    def _engine_of_a_loop(self, pool: Pool) -> AsyncEngine:
        from sqlalchemy.ext.asyncio import create_async_engine

        made = create_async_engine(self.url, pool=pool.recreate(), **self._transactional)
        self._owned(made.sync_engine)
        return made

    def _owned(self, engine: Engine) -> Engine:
        self._own.add(engine)
        statement = self.database.visibility.see_all
        if statement:
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(statement))
        if self._turns is not None:
            event.listen(engine, "before_cursor_execute", self._take_turn)
        return engine

    def _take_turn(self, connection: Connection, *arguments: Any) -> None:
        context = arguments[3]
        writes = context is not None and (context.isinsert or context.isupdate or context.isdelete)
        if writes and self._turns is not None and self._taken.get(connection, True) is None:
            self._taken[connection] = self._turns.take()


def _committed(work: Work[T], connection: Connection) -> T:
    with connection.begin():
        return work(connection)


def _at_once(pool: Pool) -> int:
    return (pool.size() if isinstance(pool, QueuePool) else 0) or AT_ONCE


def _memory_engine(engine: Engine, database: Database) -> tuple[Engine, Any]:
    if engine not in _memory_engines:
        _memory_engines[engine] = database.memory_engine(), threading.RLock()
    return _memory_engines[engine]
