"""The caller's own connection, on which the key tables are written where it holds the lock of SQLite.

See :class:`~sqlalchemy_cmk.keys.opening.uncommitted.Uncommitted`, which decides when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.storage.connections import Work
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked, KeyDatabase

T = TypeVar("T")

_lent: ContextVar[Connection | None] = ContextVar("sqlalchemy_cmk_lent", default=None)


@contextmanager
def lending(connection: Connection | None) -> Iterator[None]:
    """Lend a connection, on which a statement is about to be sent, to the keys that it needs."""
    token = _lent.set(connection)
    try:
        yield
    finally:
        _lent.reset(token)


def lent() -> Connection | None:
    """Return the connection of the statement whose values are being sealed; ``None`` if it is not known."""
    return _lent.get()


class CallersDatabase(KeyDatabase):
    """Runs units of work in the caller's transaction, each in a savepoint, without waiting for the lock.

    Args:
        database: the key tables.
        caller: the caller's connection.
        after_commit: is given what has to be called once the caller has committed.
    """

    def __init__(
        self, database: KeyDatabase, caller: Connection, after_commit: Callable[[Callable[[], None]], None]
    ) -> None:
        self._metadata, self._prefix, self.tables = database._metadata, database._prefix, database.tables
        self._caller = caller
        self._after_commit = {}
        self._once_committed = after_commit

    def run(self, work: Work[T], *, wait_for_lock: bool = True) -> T:
        """Run one unit of work.

        Raises:
            IntegrityError: as :meth:`KeyDatabase.run`.
            DatabaseLocked: another connection holds the lock.
            KeyUnavailable: the tables cannot be reached or written now.
        """
        kind = database_of(self._caller.dialect)
        try:
            with kind.without_waiting(self._caller), self._caller.begin_nested():
                result, callbacks = self._unit(work, self._caller)
        except OperationalError as error:
            refusal = DatabaseLocked if kind.is_conflict(error) else KeyUnavailable
            raise refusal(f"the key tables cannot be read or written now ({error.orig})") from error
        for callback in callbacks:
            self._once_committed(callback)
        return result
