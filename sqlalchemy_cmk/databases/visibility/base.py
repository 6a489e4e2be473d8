"""The contract of :class:`Visibility`: what may hide rows from a connection, and what contradicts a count."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, FromClause, Table, Text, cast, select
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from sqlalchemy_cmk.databases.visibility.stored import StoredTable


class Visibility:
    """What a connection sees of a database; a database that is not known hides nothing and keeps no count.

    Attributes:
        see_all: the statement after which a transaction sees every row or fails; empty if none is needed.
        rough: by which factor an estimate of rows may be wrong right after :meth:`refresh`.
        least: an estimate below this many rows contradicts nothing.
    """

    see_all: ClassVar[str] = ""
    rough: ClassVar[int] = 2
    least: ClassVar[int] = 1

    @contextmanager
    def of_session(self, connection: Connection) -> Iterator[None]:
        """Have every transaction of a connection see every row or fail, and set it back at the end.

        Args:
            connection: one of somebody else's; it keeps its transactions.
        """
        yield

    def hidden(self, connection: Connection, table: Table) -> str:
        """Return why a connection does not see every row of a table, as a predicate; ``""`` if it does.

        A table that does not exist hides nothing: reading it fails.
        """
        return ""

    def identity(self, connection: Connection, table: Table) -> Any:
        """Return what tells which table of which server a name means to a connection."""
        return None

    def estimate(self, connection: Connection, table: Table) -> int:
        """Return about how many rows the database's statistics know of; 0 where it keeps none."""
        return 0

    def refresh(self, connection: Connection, table: Table) -> None:
        """Have the database estimate a table's rows again, where the account may; this may commit."""

    def tables(self, connection: Connection, names: Collection[str]) -> list[StoredTable]:
        """Return what the database holds, but not its own catalogue.

        Args:
            connection: to the database.
            names: of other databases on a server only the tables of these names.
        """
        return []

    def unlisted(self, connection: Connection) -> dict[str, str]:
        """Return, by ``schema.*``, why :meth:`tables` may lack tables of the database."""
        return {}

    def family(self, connection: Connection, table: Table) -> set[tuple[str, str]]:
        """Return the schema and name of a table, and of all whose rows a query of it returns as well."""
        return set()

    def writing(self, connection: Connection) -> set[Any]:
        """Return which other transactions have written to the database and have not ended.

        Where there is one writer at a time there are none once it was waited for.
        """
        return set()

    def newer_than_snapshot(self, connection: Connection) -> list[str]:
        """Return the tables, by ``schema.table``, of which this transaction's snapshot shows no row.

        The database has written them again, or dropped them, since the snapshot. Those that the transaction
        has read by now stay as they are until it ends.
        """
        return []

    def shown(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """Return a value of any type as text."""
        return cast(column, Text)

    def sample(self, table: Table, stored: StoredTable, rows: int) -> FromClause:
        """Return about so many rows of a table, the first ones where the database cannot pick."""
        return select(table).limit(rows).subquery()

    def contradicts(self, connection: Connection, table: Table, counted: int) -> int:
        """Return the estimate that contradicts a count of a table's rows; 0 where it does not."""
        estimate = self.estimate(connection, table)
        return estimate if estimate >= self.least and counted * self.rough < estimate else 0


@contextmanager
def setting(connection: Connection, name: str, value: str) -> Iterator[None]:
    """Set a session's setting for a block."""
    before = str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
    connection.exec_driver_sql(f"SET {name} = {value}")
    try:
        yield
    except BaseException:
        try:
            connection.exec_driver_sql(f"SET {name} = {before}")
        except (DBAPIError, PendingRollbackError):
            # A transaction that has failed takes no statement; nobody else is to get such a session.
            connection.invalidate()
        raise
    connection.exec_driver_sql(f"SET {name} = {before}")
