"""Turns a database's error into a sentence: the driver's own may quote a value, and helps nobody."""

from __future__ import annotations

from collections.abc import Callable

from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import RunInterrupted
from sqlalchemy_cmk.runtime.printable import printable


def explained(operations: Operations, where: str, work: Callable[[], None]) -> None:
    """Do the work of a migration on a column.

    Args:
        operations: Alembic's.
        where: the column, for messages.
        work: looks at what is there when it is run again.

    Raises:
        RunInterrupted: the database refused a statement (a full disk, a trigger on DDL), or the connection
            was lost.
    """
    why, is_lost = "", True
    try:
        work()
        return
    except DBAPIError as error:
        why = database_of(operations.migration_context.dialect).explain(error)
        is_lost = error.connection_invalidated
    except PendingRollbackError:
        pass  # what was to be undone or set back after the connection was lost
    # Outside of the except block: the error's context would hold what the driver quotes.
    if is_lost:
        reason = f" ({printable(why)})" if why else ""
        raise RunInterrupted(
            f"{where}: the connection to the database was lost{reason}, and it is not known whether what was "
            "being committed is: run the migration again; it looks at what is there, and goes on from that"
        )
    raise RunInterrupted(
        f"{where}: the database refused a statement ({printable(why)}): settle that, and run the migration "
        "again; it goes on where it stopped"
    )
