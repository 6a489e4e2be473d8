"""Migrations that seal a column and open it again, whole or in phases, while the application writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, insert, update

from tests.simulation import life
from tests.simulation.ledger import VISITS, Change
from tests.simulation.models import CONVERTED, CONVERTED_COLUMN, FORMS

if TYPE_CHECKING:
    from tests.simulation.process import Process

PHASES = ("all", "all", "expand", "copy", "swap")


def visit(process: Process) -> None:
    """Add or change a visit, as the version of the application does that fits the column's form."""
    world, random = process.world, process.world.random
    tenant = random.choice(world.tenants)
    process.keyring.warm([tenant], life.PURPOSES, new=True)
    task = process.scheduler.current
    assert task is not None
    known = [key for key in world.ledger.visits() if world.ledger.now[key].tenant == tenant]
    try:
        with process.engine.connect() as connection:
            process.world.database.begin_writing(connection)
            table = process.models.visits[world.stored.form()]
            value = world.new_value(tenant)
            stored = None if value is None else value.encode()
            if known and random.random() < 0.5:
                key = random.choice(known)
                task.pending[key] = Change({CONVERTED_COLUMN: value})
                here = (table.c.id == key, table.c.clinic_id == tenant)
                connection.execute(update(table).where(*here).values({CONVERTED_COLUMN: stored}))
            else:
                key = VISITS + world.new_key()
                task.pending[key] = Change({CONVERTED_COLUMN: value}, tenant)
                new = {"id": key, "clinic_id": tenant, CONVERTED_COLUMN: stored}
                connection.execute(insert(table).values(new))
            _commit(connection)
    finally:
        task.pending.clear()


def convert(process: Process) -> None:
    """Run a migration: one that seals the column where it is plain, and one that opens it where it is sealed.

    What another migration has left half-done may have been of another plan.
    """
    form = process.world.stored.form()
    _migrate(process, form, _other_form(process, form), process.world.random.choice(PHASES))


def turn_back(process: Process) -> None:
    """Begin a migration, and run the one again that has led to where the column is."""
    world, form = process.world, process.world.stored.form()
    other = _other_form(process, form)
    _migrate(process, form, other, "expand")
    if world.random.random() < 0.7:
        _migrate(process, form, other, "copy")
    _migrate(process, other, form, "all")


def _other_form(process: Process, form: str) -> str:
    return "" if form else process.world.random.choice(("randomized", "deterministic"))


def finish(process: Process) -> None:
    """Finish what is half-done or undo it, and have the column plain in the end."""
    form = process.world.stored.form()
    if not form:
        _migrate(process, "", "randomized", "all")
    _migrate(process, process.world.stored.form(), "", "all")
    if process.world.stored.form():
        process.world.fail("the column is sealed still though all is healed")


def _migrate(process: Process, before: str, after: str, phase: str) -> None:
    process.scheduler.note(f"migration from {before or 'plain'} to {after or 'plain'}, phase {phase}")
    options: Any = {"tenant_column": "clinic_id", "existing_type": FORMS[before].copy(), "phase": phase}
    with process.engine.connect() as connection:
        target = process.models.visits[after].metadata
        rekey = {"chunk": process.world.random.randint(1, 4), "rate": None}
        context = MigrationContext.configure(
            connection,
            opts={
                "keyring": process.keyring,
                "target_metadata": target,
                "rekey": rekey,
                "transaction_per_migration": True,
            },
        )
        with context.begin_transaction(_per_migration=True):  # as a run of migrations does
            change = Operations(context)
            run = change.encrypt_column if after else change.decrypt_column
            run(CONVERTED, CONVERTED_COLUMN, FORMS[after].copy(), **options)


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except BaseException:
        connection.invalidate()  # as after a session's
        raise
