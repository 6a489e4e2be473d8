"""A migration that forgets whose rows it converts is refused: the model knows."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import literal, select, table

from sqlalchemy_cmk.alembic.configuration import model_table
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.registry.write import registry_of
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey.job import tenant_of
from sqlalchemy_cmk.runtime.printable import printable


def refuse_forgotten_tenant(operations: Operations, plan: Plan) -> None:
    """Refuse a plan that takes the rows of tenants for the platform's.

    An old migration may be right: it ran before the model named a tenant column. So nothing is refused where
    the table is empty, or is recorded as sealed for the platform.

    Raises:
        ConfigurationError: the model has a tenant column, and the migration does not name it.
    """
    model = model_table(operations.migration_context, plan.schema, plan.table)
    if model is None or plan.rows.tenant_column is not None or not _names_no_owner(plan):
        return
    tenant_column, _ = tenant_of(model)
    entry = registry_of(operations).entries().get(plan.name)
    if tenant_column is None or (entry is not None and entry.owner == "platform"):
        return
    rows = select(literal(1)).select_from(table(plan.table, schema=plan.schema)).limit(1)
    if operations.get_bind().execute(rows).first() is None:
        return
    raise ConfigurationError(
        f"{plan.where}: the migration names no tenant column, so that values would be the platform's, and "
        f"the model says tenant_column={printable(repr(tenant_column))}: give the operation that, or where "
        'the values are to be the platform\'s, EncryptedType(..., owner="platform")'
    )


def _names_no_owner(plan: Plan) -> bool:
    types = (plan.opens, plan.seals)
    return any(isinstance(one, EncryptedType) and one.scheme.owner == "row" for one in types)
