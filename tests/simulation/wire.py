"""Between a process and its database: where it is suspended, where it fails, and where others look on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.simulation.access import Troubles
from tests.simulation.models import CONVERTED, TABLE
from tests.simulation.scheduler import Crashed, Scheduler

if TYPE_CHECKING:
    from tests.simulation.process import Process

SHOWN = 100


class Wire:
    """What all connections of one life of a process share. A fork or a crash cuts it.

    Attributes:
        connections: the driver's, open or closed.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.world = process.world
        self.connections: list[Any] = []
        self._cut = False

    @property
    def scheduler(self) -> Scheduler:
        return self.process.scheduler

    @property
    def is_writing(self) -> bool:
        """Whether a transaction has written to the application's tables, and has not ended."""
        return any(getattr(one, "wrote", False) for one in self.connections)

    def cut(self) -> None:
        """Close every connection; what was not committed is gone."""
        self._cut = True
        for connection in self.connections:
            self.world.database.drop(connection)
        self.stirred()

    def stirred(self) -> None:
        """Locks may have been given back."""
        self.world.stirred += 1

    def await_others(self, seconds: float) -> None:
        """Wait until locks may have been given back."""
        before = self.world.stirred
        self.scheduler.wait(lambda: self.world.stirred != before, seconds)

    def statement(self, connection: Any, sql: str, parameters: Any, error: Callable[[], Exception]) -> None:
        """A statement is about to run."""
        self._point(sql)
        connection.wrote = connection.wrote or writes(sql)
        if sql.startswith("SAVEPOINT"):
            connection.made_before[sql.split()[-1]] = connection.made
        self._fail(self.world.faults.rates.statement, error)
        self.world.invariants.about_to_write(connection, sql, parameters)

    def answered(self, sql: str) -> None:
        """A statement has run; what the server answers arrives later."""
        self.stirred()
        if TABLE in sql or CONVERTED in sql:
            self._point("the database has answered")

    @contextmanager
    def committing(self, connection: Any, sql: str, error: Callable[[], Exception]) -> Iterator[None]:
        """A transaction is about to end: it may fail, or succeed and look as if it had failed."""
        self._point(sql)
        self._fail(self.world.faults.rates.commit, error)
        yield
        self.committed(connection)
        self._fail(self.world.faults.rates.commit_unnoticed, error)

    def committed(self, connection: Any) -> None:
        """Something was committed."""
        self.stirred()
        wrote, connection.wrote, connection.made = connection.wrote, False, frozenset()
        self.world.invariants.after_commit(self.scheduler.current, wrote=wrote)

    def ending(self, connection: Any, sql: str) -> None:
        """A transaction is rolled back; the end of a process does that too."""
        connection.wrote, connection.made = False, frozenset()
        if not self._cut:
            self._point(sql)

    def going_back(self, connection: Any, sql: str) -> None:
        """What a transaction did since a savepoint is undone."""
        connection.made = connection.made_before.get(sql.split()[-1], frozenset())

    def _point(self, sql: str) -> None:
        if self._cut:
            raise Crashed
        self.scheduler.point(" ".join(sql.split())[:SHOWN])

    def _fail(self, rate: float, error: Callable[[], Exception]) -> None:
        if not self.world.calm and self.world.faults.happens(rate):
            self.process.troubles.note(Troubles.DATABASE)
            self.scheduler.note("the database fails (simulated)")
            raise error()


def is_partial(sql: str) -> bool:
    """Whether a ROLLBACK goes back to a savepoint only."""
    return " TO " in sql.upper()


def writes(sql: str) -> bool:
    """Whether a statement writes to the application's tables."""
    return sql.startswith(("INSERT INTO", "UPDATE", "DELETE FROM")) and (TABLE in sql or CONVERTED in sql)
