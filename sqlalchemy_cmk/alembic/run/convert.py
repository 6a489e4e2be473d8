"""What ``op.encrypt_column`` and ``op.decrypt_column`` do, and those for several columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.conversion import convert, scrub_table
from sqlalchemy_cmk.alembic.conversion.every_row import every_row_seen
from sqlalchemy_cmk.alembic.conversion.explained import explained
from sqlalchemy_cmk.alembic.conversion.mixed import make_mixed
from sqlalchemy_cmk.alembic.conversion.offline import write_conversion
from sqlalchemy_cmk.alembic.conversion.plan import Plan, bound
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp, DecryptColumnOp, EncryptColumnOp, Options
from sqlalchemy_cmk.alembic.ops.convert_columns import ConversionsOp, DecryptColumnsOp, EncryptColumnsOp
from sqlalchemy_cmk.errors import ConfigurationError


@Operations.implementation_for(EncryptColumnOp)
def _encrypt(operations: Operations, operation: EncryptColumnOp) -> None:
    plan = _plan(operations, operation)
    if operation.options.mixed:
        explained(operations, plan.where, partial(make_mixed, operations, plan))
    else:
        _convert(operations, plan.where, [plan], operation.options)


@Operations.implementation_for(DecryptColumnOp)
def _decrypt(operations: Operations, operation: DecryptColumnOp) -> None:
    plan = _plan(operations, operation)
    _convert(operations, plan.where, [plan], operation.options)


@Operations.implementation_for(EncryptColumnsOp)
@Operations.implementation_for(DecryptColumnsOp)
def _convert_together(operations: Operations, operation: ConversionsOp) -> None:
    plans = [_plan(operations, one) for one in operation.conversions]
    _convert(operations, operation.where, plans, operation.conversions[0].options)


def _convert(operations: Operations, where: str, plans: Sequence[Plan], options: Options) -> None:
    """Convert columns of one table, under the options that they share."""
    if operations.migration_context.as_sql:
        for plan in plans:
            write_conversion(operations, plan, options.phase)
        return

    def work() -> None:
        with every_row_seen(operations, plans[0]):
            convert(operations, plans, options.phase)
        if options.scrub and options.phase in ("all", "swap"):
            scrub_table(operations, plans[0])

    explained(operations, where, work)


def _plan(operations: Operations, operation: ConversionOp) -> Plan:
    if operation.existing_type is None or operation.type_ is None:
        raise ConfigurationError(f"{operation.where}: the migration does not say the column's old type")
    name, options = operation.name, operation.options
    opens, seals = bound(operation.existing_type, name), bound(operation.type_, name)
    context = operations.migration_context
    rows = options.rows.completed(context, operation.schema, operation.table_name, opens, seals)
    seals_it = isinstance(operation, EncryptColumnOp)
    return Plan(
        operation.table_name,
        operation.schema,
        operation.column_name,
        opens,
        seals,
        options.nullable,
        None if seals_it else options.default,
        rows,
        existing_default=options.default if seals_it else None,
        plaintexts=options.plaintexts,
    )
