"""One conversion of a table at a time, whichever process begins it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from sqlalchemy_cmk.alembic.jobs import committed
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.rekey.job import fullname
from sqlalchemy_cmk.runtime.blocking import pause
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
SAID_EVERY = 150  # polls: half a minute


@contextmanager
def alone(operations: Operations, table: str, schema: str | None) -> Iterator[None]:
    """Run the block while no other migration converts a column of this table; wait until none does.

    The lock belongs to the session of the migration's connection: it ends with a process that is killed.
    Look at what is there only inside of the block.

    Args:
        operations: Alembic's.
        table: the table's name.
        schema: its schema.
    """
    name = fullname(table, schema)
    with committed(operations):
        connection = operations.get_bind()
        database = database_of(connection.dialect)
        waited = 0
        while (release := database.hold(connection, f"conversion of {name}")) is None:
            if waited % SAID_EVERY == 0:
                log.info("%s: another migration converts it, and is waited for", printable(name))
            waited += 1
            pause(POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(DBAPIError, PendingRollbackError):  # the connection is lost, and its lock with it
                release()
