"""What a migration would do to a column: what stands in its way, what it changes, and how long it takes here.

It asks what the migration itself asks before it changes anything. Nothing is changed: one row is written as
it is, and that is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, MetaData, create_engine, inspect

from sqlalchemy_cmk.alembic.configuration import key_tables
from sqlalchemy_cmk.alembic.conversion.beforehand import look_beforehand
from sqlalchemy_cmk.alembic.conversion.catalogue import structure_of
from sqlalchemy_cmk.alembic.conversion.every_row import every_row_seen
from sqlalchemy_cmk.alembic.conversion.explained import explained
from sqlalchemy_cmk.alembic.conversion.plan import Plan, bound
from sqlalchemy_cmk.alembic.conversion.statements import statements_of
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.alembic.sampling import Content, sample
from sqlalchemy_cmk.check.subjects import SUBJECTS, Subject
from sqlalchemy_cmk.check.timing import Timing, measured
from sqlalchemy_cmk.databases.reflection import reflected_table
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.runtime.kinds import takes


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration would do to one column.

    Attributes:
        where: ``table.column``.
        before: the column's type now, as the database writes it; empty if there is no such column.
        after: its type afterwards.
        done: why there is nothing to do; empty if there is.
        obstacles: what would stop it.
        copies: what would keep the plain values.
        timing: how long it takes; ``None`` if it cannot be done.
    """

    where: str
    before: str = ""
    after: str = ""
    done: str = ""
    obstacles: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    timing: Timing | None = None


@takes(keyring=KEYRING, subjects=SUBJECTS)
def migrations(keyring: Keyring, subjects: Sequence[Subject]) -> list[Migration]:
    """Return what migrations would do to columns, in the keyring's own database."""

    def look(connection: Connection) -> list[Migration]:
        # Alembic commits as it likes, while the looks take connections of the keyring's own pool.
        pool = connection.engine.pool.recreate()
        engine = create_engine(connection.engine.url, pool=pool, hide_parameters=True)
        with engine.connect() as own:
            own = own.execution_options(isolation_level="AUTOCOMMIT")
            found = [_of(keyring, one, own) for one in subjects]
        engine.dispose()
        return found

    return keyring.connections.use(look)


def _of(keyring: Keyring, subject: Subject, connection: Connection) -> Migration:
    name = ColumnName(subject.table.schema, subject.table.name, subject.sealed.column.name)
    found = _found(connection, name)
    if found is None:
        return Migration(
            subject.where,
            done="it is not in this database yet: create_all, or the migration that adds it, makes it sealed",
            obstacles=subject.problems,
        )
    operations = Operations(
        MigrationContext.configure(
            connection, opts={"keyring": keyring, "target_metadata": subject.table.metadata}
        )
    )
    before = found.type.compile(connection.dialect)
    deks = key_tables(operations.migration_context).deks
    if sample(connection, deks, name.table, name.column, name.schema) is Content.SEALED:
        return Migration(subject.where, before, before, "its values are sealed already")
    plan = _plan(subject, name, found)
    obstacles = [*subject.problems, *_obstacles(operations, plan)]
    after = plan.new_column(plan.column, final=True).type.compile(dialect=connection.dialect)
    copies: list[str] = []
    timing = None
    if not obstacles:
        layout = Layout(plan.job, connection, reads_only=True)
        copies = layout.database.surroundings.copies(connection, layout.table)
        timing = measured(layout, subject, connection)
    return Migration(subject.where, before, after, "", tuple(obstacles), tuple(copies), timing)


def _found(connection: Connection, name: ColumnName) -> Column[Any] | None:
    if not inspect(connection).has_table(name.table, schema=name.schema):
        return None
    return reflected_table(connection, name.table, name.schema, MetaData()).c.get(name.column)


def _plan(subject: Subject, name: ColumnName, found: Column[Any]) -> Plan:
    default = getattr(found.server_default, "arg", None)
    return Plan(
        name.table,
        name.schema,
        name.column,
        found.type,
        bound(subject.type_, name),
        bool(found.nullable),
        None,
        TableRows.of(subject.table, subject.type_),
        existing_default=None if default is None else str(getattr(default, "text", default)),
    )


def _obstacles(operations: Operations, plan: Plan) -> list[str]:
    """Return what the migration would refuse; each look is taken, whatever the others find."""

    def every_row() -> None:
        with every_row_seen(operations, plan):
            pass

    looks: tuple[Callable[[], Any], ...] = (
        lambda: statements_of(operations, plan),
        every_row,
        lambda: structure_of(operations, plan),
        lambda: look_beforehand(operations, plan),
    )
    found = []
    for look in looks:
        try:
            explained(operations, plan.where, look)
        except CmkError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))
