"""What ``--sql`` writes: the DDL, and comments where a live database and keys are needed."""

from __future__ import annotations

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.databases import Database, database_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.sqlite import Sqlite
from sqlalchemy_cmk.alembic.conversion.structure import Structure
from sqlalchemy_cmk.alembic.registering import register, unregister


def say(operations: Operations, text: str) -> None:
    """Write a comment."""
    operations.migration_context.impl.static_output(f"-- {text}")


def write_conversion(operations: Operations, plan: Plan, phase: str) -> None:
    """Write a conversion's statements. They stop where rows were not copied."""
    database = database_of(operations, plan)
    if phase in ("expand", "all"):
        with operations.migration_context.autocommit_block():
            operations.add_column(plan.table, plan.new_column(plan.shadow, final=False), schema=plan.schema)
            database.watch()
    if phase in ("copy", "all"):
        say(
            operations,
            f"{plan.where}: copying its values needs a live database and keys. Run the phase 'copy' of",
        )
        say(
            operations,
            "this operation online before what follows, which fails as long as a row is not copied.",
        )
    if phase in ("swap", "all"):
        _write_swap(operations, plan, database)


def _write_swap(operations: Operations, plan: Plan, database: Database) -> None:
    if isinstance(database, Sqlite):
        say(operations, f"{plan.where}: on SQLite the columns change places online only.")
        return
    database.assert_complete()
    database.swap(Structure((), None, None))
    say(
        operations,
        f"{plan.where}: indexes and unique constraints on the column go with it. They are not known",
    )
    say(operations, "offline: write down those that are to come back.")
    entry = plan.entry
    if entry is not None:
        register(operations, entry)
    else:
        unregister(operations, plan.fullname, plan.column)
