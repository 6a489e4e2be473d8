"""What ``op.encrypt_column`` and ``op.decrypt_column`` do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.conversion.conversion import Conversion
from sqlalchemy_cmk.alembic.conversion.every_row import every_row_seen
from sqlalchemy_cmk.alembic.conversion.explained import explained
from sqlalchemy_cmk.alembic.conversion.mixed import make_mixed
from sqlalchemy_cmk.alembic.conversion.offline import write_conversion
from sqlalchemy_cmk.alembic.conversion.plan import Plan, bound
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.errors import ConfigurationError


@Operations.implementation_for(EncryptColumnOp)
def _encrypt(operations: Operations, operation: EncryptColumnOp) -> None:
    options = operation.options
    plan = _plan(operations, operation, None)
    plan = replace(plan, existing_default=options.default, plaintexts=options.plaintexts)
    if options.mixed:
        explained(operations, plan.where, partial(make_mixed, operations, plan))
    else:
        _convert(operations, operation, plan)


@Operations.implementation_for(DecryptColumnOp)
def _decrypt(operations: Operations, operation: DecryptColumnOp) -> None:
    _convert(operations, operation, _plan(operations, operation, operation.options.default))


def _convert(operations: Operations, operation: ConversionOp, plan: Plan) -> None:
    options = operation.options
    if operations.migration_context.as_sql:
        write_conversion(operations, plan, options.phase)
        return

    def convert() -> None:
        with every_row_seen(operations, plan):
            conversion = Conversion(operations, plan)
            conversion.run(options.phase)
        if options.scrub and options.phase in ("all", "swap"):
            conversion.scrub()

    explained(operations, plan.where, convert)


def _plan(operations: Operations, operation: ConversionOp, default: str | None) -> Plan:
    if operation.existing_type is None or operation.type_ is None:
        raise ConfigurationError(f"{operation.where}: the migration does not say the column's old type")
    name, options = operation.name, operation.options
    opens, seals = bound(operation.existing_type, name), bound(operation.type_, name)
    context = operations.migration_context
    rows = options.rows.completed(context, operation.schema, operation.table_name, opens, seals)
    return Plan(
        operation.table_name,
        operation.schema,
        operation.column_name,
        opens,
        seals,
        options.nullable,
        default,
        rows,
    )
