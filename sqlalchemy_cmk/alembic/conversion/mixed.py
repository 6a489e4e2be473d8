"""Mixed mode: a column is made one of bytes, with its plain values in it, and rows are sealed at leisure."""

from __future__ import annotations

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.databases import database_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.registering import register, registry_of


def make_mixed(operations: Operations, plan: Plan) -> None:
    """Turn a column's plain values into their bytes, and register it as a sealed one; no row is sealed."""
    context, entry = operations.migration_context, plan.entry
    if entry is None:
        return
    if not context.as_sql:
        registry = registry_of(operations)
        registry.require()
        if (plan.fullname, plan.column) in registry.entries():
            return
    made = plan.new_column(plan.column, final=True).type.compile(dialect=context.dialect)
    database_of(operations, plan).make_binary(made)
    register(operations, entry)
