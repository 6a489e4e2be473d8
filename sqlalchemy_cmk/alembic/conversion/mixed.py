"""Mixed mode: a column becomes one of bytes with its plain values in it, and its rows are sealed later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.alone import alone
from sqlalchemy_cmk.alembic.conversion.beforehand import look_beforehand
from sqlalchemy_cmk.alembic.conversion.catalogue import Structure, structure_of
from sqlalchemy_cmk.alembic.conversion.owners import refuse_forgotten_tenant
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.conversion.shadow import Shadow
from sqlalchemy_cmk.alembic.conversion.statements import ConversionStatements, statements_of
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.registry.write import register, registry_of


def make_mixed(operations: Operations, plan: Plan) -> None:
    """Turn a column's plain values into their bytes, and register it as a sealed one; no row is sealed."""
    context, entry = operations.migration_context, plan.entry
    if entry is None:
        return
    statements = statements_of(operations, plan)
    made = plan.new_column(plan.column, final=True).type.compile(dialect=context.dialect)
    if context.as_sql:
        statements.make_binary(made, Structure())
        register(operations, entry)
        return
    with alone(operations, plan.table, plan.schema):
        Shadow(operations, plan, statements).settle()
        registry = registry_of(operations)
        registry.require()
        if plan.name not in registry.entries():
            refuse_forgotten_tenant(operations, plan)
            look_beforehand(operations, plan)
            make = partial(statements.make_binary, made, structure_of(operations, plan))
            statements.patiently(lambda: _make(operations, statements, make, entry))


def _make(
    operations: Operations, statements: ConversionStatements, make: Callable[[], None], entry: Entry
) -> None:
    with statements.transaction():
        make()
        register(operations, entry)
