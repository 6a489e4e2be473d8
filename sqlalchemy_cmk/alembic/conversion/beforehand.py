"""Looks at a table before a conversion changes anything: what it could not finish or undo is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Connection, and_, update
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.alembic.ciphertext.refusal import refuse_ciphertext, refuse_objects
from sqlalchemy_cmk.alembic.ciphertext.samples import stored_values
from sqlalchemy_cmk.alembic.configuration import keyring_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.jobs import committed
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey import Rekey
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.too_long import refuse_too_long
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)


def look_beforehand(operations: Operations, plan: Plan) -> None:
    """Refuse a conversion that would fail half-way, or whose values would not come back.

    What keeps copies of the plain values is logged.

    Raises:
        ConfigurationError: rows are not found by their key, cannot be written, or hold a value that does not
            fit, would come back changed, or is too long for a statement. Nothing was changed.
    """
    context = operations.migration_context
    keyring = keyring_of(context)
    options: dict[str, Any] = dict(context.opts.get("rekey") or {})
    with committed(operations):
        keyring.connections.use(partial(_look, plan))
        _refuse_changed_values(Rekey(keyring, **options), plan)


def _look(plan: Plan, connection: Connection) -> None:
    refuse_too_long(connection, plan.job)
    _look_around(plan, connection)
    _refuse_misread(plan, connection)


def _look_around(plan: Plan, connection: Connection) -> None:
    layout = Layout(plan.job, connection, reads_only=True)
    surroundings = layout.database.surroundings
    made = plan.new_column(plan.column, final=True).type.compile(dialect=connection.dialect)
    obstacle = surroundings.obstacle(connection, layout.table, plan.column, made)
    if obstacle:
        raise ConfigurationError(f"{printable(plan.fullname)} {printable(obstacle)}")
    copies = surroundings.copies(connection, layout.table)
    connection.rollback()
    _refuse_unwritable(plan, layout, connection)
    for sentence in copies:
        log.warning("%s: %s", plan.where, printable(sentence))


def _refuse_misread(plan: Plan, connection: Connection) -> None:
    """Refuse values that would be sealed as ciphertext, or as objects that cannot be sealed."""
    if isinstance(plan.opens, EncryptedType) or not isinstance(plan.seals, EncryptedType):
        return
    stored = stored_values(connection, plan.name)
    connection.rollback()
    if not (plan.plaintexts or plan.seals.scheme.accept_legacy):
        refuse_ciphertext(plan.name, plan.opens, plan.seals, stored, connection.dialect)
    refuse_objects(plan.name, plan.opens, plan.seals, stored, connection.dialect)


def _refuse_unwritable(plan: Plan, layout: Layout, connection: Connection) -> None:
    """Write one row as it is, and undo that: triggers and policies may refuse it."""
    database, column = layout.database, layout.column(plan.column)
    database.limit_lock_waits(connection)
    key = connection.execute(layout.keys(None, None)).first()
    if key is None:
        return
    same_row = and_(*(one == value for one, value in zip(layout.key, key, strict=True)))
    why = ""
    try:
        written = connection.execute(update(layout.table).where(same_row).values({column: column})).rowcount
        why = "" if written else "it says that it wrote none"
    except DBAPIError as error:
        why = "" if database.is_conflict(error) else database.explain(error)
    connection.rollback()
    if not why:
        return
    names = ", ".join(database.surroundings.triggers(connection, layout.table))
    raise ConfigurationError(
        f"{plan.where}: the database does not let the engine write a row ({printable(why)})"
        + (f"; look at the triggers {printable(names)}: one raises, or returns NULL" if names else "")
    )


def _refuse_changed_values(rekey: Rekey, plan: Plan) -> None:
    if plan.job.moves[0].opens_sealed:
        return
    # Values that an old type of the model opens stay where they are, and are checked as it reads them.
    sealed = plan.seals
    legacy = isinstance(sealed, EncryptedType) and sealed.scheme.accept_legacy
    report = rekey.check(replace(plan, opens=sealed).job_in_place if legacy else plan.job)
    if report.damaged:
        first = report.damaged[0]
        raise ConfigurationError(
            f"{plan.where}: {len(report.damaged)} values cannot be sealed as they are, and nothing was "
            f"changed; the first is {printable(first.column)} of the row with key {printable(first.key)}: "
            f"{printable(first.reason)}; change these values, or the types that the migration names"
        )
