"""A conversion sees every row of its table, on the migration's connection and on the keyring's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Connection, MetaData, Table, func, select

from sqlalchemy_cmk.alembic.configuration import keyring_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.jobs import committed
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.every_row import Work, refuse_contradicted, refuse_hidden


@contextmanager
def every_row_seen(operations: Operations, plan: Plan) -> Iterator[None]:
    """Have a block see every row of a plan's table, or fail.

    Raises:
        ConfigurationError: rows may be hidden from the migration's connection or the keyring's, or the
            table's name means another table to one of them.
    """
    visibility = database_of(operations.migration_context.dialect).visibility
    here, table = operations.get_bind(), _table(plan)
    connections = keyring_of(operations.migration_context).connections

    def identity(connection: Connection) -> object:
        refuse_hidden(connection, [table])
        return visibility.identity(connection, table)

    with visibility.of_session(here):
        mine = identity(here)
        if not connections.in_memory and connections.run(identity) != mine:
            raise ConfigurationError(
                f"{plan.fullname} is one table to the migration and another one to the keyring: give both "
                "the same database and search_path, or name the schema"
            )
        yield


def refuse_uncounted(operations: Operations, plan: Plan) -> None:
    """Refuse to replace a column of a table that shows fewer rows than the database knows of.

    Raises:
        ConfigurationError: it does.
    """
    table = _table(plan)

    def run(work: Work) -> Any:
        with committed(operations):
            return work(operations.get_bind())

    counted = run(lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one())
    refuse_contradicted(run, table, counted)


def _table(plan: Plan) -> Table:
    return Table(plan.table, MetaData(), schema=plan.schema)
