"""Conversions in ``--sql``: the DDL, and comments where a live database and keys are needed."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import column, null, table, update

from sqlalchemy_cmk.alembic import alembic_private
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.records import Records, State
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements, statements_of
from sqlalchemy_cmk.alembic.registry.write import note
from sqlalchemy_cmk.databases import database_of


def say(operations: Operations, text: str) -> None:
    """Write a comment."""
    alembic_private.write_comment(operations, text)


def write_conversion(operations: Operations, plan: Plan, phase: str) -> None:
    """Write a conversion's statements. None destroys a value, even if a client goes on after errors."""
    statements = statements_of(operations, plan)
    if phase in ("expand", "all"):
        with operations.migration_context.autocommit_block():
            Records(operations, plan.name).begin(plan)
            operations.add_column(plan.table, plan.new_column(plan.shadow, final=False), schema=plan.schema)
            statements.watch()
            # The script may be run again: what was copied while nothing watched may be out of date.
            rows = table(plan.table, column(plan.shadow), schema=plan.schema)
            filled = rows.c[plan.shadow].is_not(None)
            operations.execute(update(rows).where(filled).values({plan.shadow: null()}))
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
        _write_swap(operations, plan, statements)


def _write_swap(operations: Operations, plan: Plan, statements: ConversionStatements) -> None:
    if not statements.swaps_offline:
        name = database_of(operations.migration_context.dialect).name
        say(operations, f"{plan.where}: on {name} the columns change places online only.")
        return
    # A client may go on after the swap has failed: then the shadow is still there, and nothing is noted.
    records, has_shadow = Records(operations, plan.name), statements.has_shadow()
    records.note(State.SWAPPING, only_if=has_shadow)
    statements.swap_offline()
    say(
        operations,
        f"{plan.where}: indexes and unique constraints on the column go with it. They are not known",
    )
    say(operations, "offline: write down those that are to come back.")
    records.note(State.COPYING, only_if=has_shadow)
    note(operations, plan.name, plan.scheme, only_if=records.is_in(State.SWAPPING))
    records.end(only_in=State.SWAPPING)
