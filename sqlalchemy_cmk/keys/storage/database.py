"""Runs units of work on the key tables: each is one transaction, repeated where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from random import uniform
from time import sleep
from typing import TypeVar

from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchTableError, OperationalError, SQLAlchemyError

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.storage.connections import Connections, Work
from sqlalchemy_cmk.keys.storage.tables import missing_tables, tables_of_keyrings
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.threads import Threads

T = TypeVar("T")

RETRIES = 3

# The most units of work at once of one keyring under asyncio; each has a connection.
AT_ONCE = 16

MAKE_TABLES = (
    "run metadata.create_all(engine) or the Alembic migration that creates it, after keyring.protect(Base)"
)

_waits: ContextVar[bool] = ContextVar("sqlalchemy_cmk_waits", default=True)


class DatabaseLocked(KeyUnavailable):
    """Another connection holds the lock on the whole database."""


@contextmanager
def without_waiting() -> Iterator[None]:
    """Have units of work fail at once where another connection holds the lock on the whole database."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def waits_for_lock() -> bool:
    """Return whether units of work wait for the lock on the whole database."""
    return _waits.get()


class KeyDatabase:
    """Runs units of work on the key tables.

    Args:
        connections: the keyring's own connections.
        prefix: the prefix of the tables' names.

    Attributes:
        tables: the key tables.
    """

    def __init__(self, connections: Connections, prefix: str) -> None:
        self._connections = connections
        self._prefix = prefix
        self._after_commit: dict[Connection, list[Callable[[], None]]] = {}
        self._threads = Threads("cmk-keys", AT_ONCE)
        self._metadata, self.tables = tables_of_keyrings(prefix)
        if connections.in_memory:
            connections.run(self._metadata.create_all)

    @property
    def has_one_writer(self) -> bool:
        """Whether a caller's transaction can keep the keyring's own connections from writing."""
        return self._connections.database.locks_whole_database and not self._connections.in_memory

    @property
    def table_names(self) -> frozenset[str]:
        """The names of the key tables and of every registered table."""
        return frozenset(self._metadata.tables)

    @property
    def own_tables(self) -> tuple[Table, ...]:
        """The key tables and every registered table."""
        return tuple(self._metadata.tables.values())

    def tables_of(self, build: Callable[[MetaData, str], T]) -> T:
        """Return a package's own tables.

        Args:
            build: the function that the package has registered with ``register_tables``.
        """
        return build(self._metadata, self._prefix)

    def missing(self) -> list[str]:
        """Return the tables and columns that the database lacks, as in "the column cmk_deks.purpose"."""
        return self._connections.run(lambda connection: missing_tables(connection, self._metadata))

    def run(self, work: Work[T], *, wait_for_lock: bool = True) -> T:
        """Run one unit of work in a transaction of its own and commit it; under asyncio off the loop.

        Args:
            work: is given the connection.
            wait_for_lock: whether to wait for SQLite's lock. Work that can be done later should not wait: a
                waiting writer keeps transactions that have read from writing.

        Raises:
            IntegrityError: another process was first.
            KeyUnavailable: the tables cannot be reached or written now.
            DatabaseLocked: another connection holds the lock on the whole database.
            ConfigurationError: tables or columns do not exist.
        """
        wait_for_lock = wait_for_lock and waits_for_lock()
        return off_the_loop(lambda: self._run_here(work, wait_for_lock), self._threads)

    def _run_here(self, work: Work[T], wait_for_lock: bool) -> T:
        try:
            result, callbacks = self._run_again(partial(self._unit, work), wait_for_lock)
        except IntegrityError:
            raise
        except DBAPIError as error:
            problem = error
        except (OSError, SQLAlchemyError) as error:
            raise KeyUnavailable(f"the key tables cannot be reached: {type(error).__name__}") from error
        else:
            for callback in callbacks:
                callback()
            return result
        self._explain(problem)
        locked = self._connections.database.is_conflict(problem) and self.has_one_writer
        reason = " ".join(str(getattr(problem, "orig", problem)).split()) or type(problem).__name__
        message = f"the key tables cannot be read or written now ({reason})"
        if locked:
            advice = "where another writer holds SQLite's lock, call keyring.warm([tenant], new=True)"
            raise DatabaseLocked(f"{message}; {advice} before you write") from problem
        raise KeyUnavailable(message) from problem

    def after_commit(self, connection: Connection, callback: Callable[[], None]) -> None:
        """Have a function called when the unit of work that runs on a connection has been committed.

        Args:
            connection: the connection that the work was given.
            callback: must not raise: what was committed must not look as if it had failed.
        """
        self._after_commit[connection].append(callback)

    def announce(self, connection: Connection, channel: str) -> None:
        """Tell processes that listen, when the unit of work on a connection is committed."""
        self._connections.database.announce(connection, channel)

    def _unit(self, work: Work[T], connection: Connection) -> tuple[T, list[Callable[[], None]]]:
        callbacks: list[Callable[[], None]] = []
        self._after_commit[connection] = callbacks
        try:
            return work(connection), callbacks
        finally:
            del self._after_commit[connection]

    def _run_again(self, work: Work[T], wait_for_lock: bool) -> T:
        # A deadlock's victim, or a connection that the server has closed, has written nothing. Where the
        # whole database is locked, the lock was waited for already.
        for _ in range(0 if self._connections.database.locks_whole_database else RETRIES):
            try:
                return self._connections.run(work)
            except DBAPIError as error:
                if not (isinstance(error, OperationalError) or error.connection_invalidated):
                    raise
                sleep(uniform(0.01, 0.05))  # noqa: S311
        return self._connections.run(work, wait_for_lock)

    def _explain(self, problem: SQLAlchemyError) -> None:
        try:
            missing = self.missing()
        except (SQLAlchemyError, OSError, NoSuchTableError):
            return
        if missing:
            raise ConfigurationError(f"the key tables lack {missing[0]}: {MAKE_TABLES}") from problem
