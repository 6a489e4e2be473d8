"""How a column stands: converted already, still to be converted, or not what the migration takes it for."""

from __future__ import annotations

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.configuration import key_tables
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.registry.write import registry_of
from sqlalchemy_cmk.alembic.sampling import Content, sample
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.errors import ConfigurationError


def is_converted(operations: Operations, plan: Plan) -> bool:
    """Return whether a column, with no conversion under way, is already as a plan makes it.

    Raises:
        ConfigurationError: it is sealed in another way than the migration says, or not recorded as sealed.
    """
    registry, wanted = registry_of(operations), plan.entry
    if wanted is not None:
        registry.require()
    entry = registry.entries().get(plan.name)
    if entry is not None and (wanted is None or entry.stored_form != wanted.stored_form):
        _refuse_another_suite(plan, entry)
    if wanted is not None and entry is not None:
        if entry.stored_form == wanted.stored_form:
            return True
        if not isinstance(plan.opens, EncryptedType):
            raise ConfigurationError(f"{plan.where} is sealed already, in another way")
        return False
    content = _content(operations, plan)
    if wanted is None:
        empty_bytes = content is Content.EMPTY and _is_binary(operations, plan) and not is_binary(plan.seals)
        return entry is None and content in (Content.PLAIN, Content.EMPTY) and not empty_bytes
    if not isinstance(plan.opens, EncryptedType) and content in (Content.SEALED, Content.MIXED):
        raise ConfigurationError(
            f"{plan.where} holds sealed values: op.register_sealed_column notes how they are sealed"
        )
    return False


def _refuse_another_suite(plan: Plan, entry: Entry) -> None:
    """Refuse to open what another migration has sealed in another way meanwhile: every value would fail."""
    now = entry.scheme.deterministic
    if isinstance(plan.opens, EncryptedType) and plan.opens.scheme.deterministic != now:
        raise ConfigurationError(
            f"{plan.where} is sealed with deterministic={now}, and the migration's existing_type says "
            f"{not now}: give existing_type the options of the migration that sealed the column last"
        )


def _content(operations: Operations, plan: Plan) -> Content:
    deks = key_tables(operations.migration_context).deks
    return sample(operations.get_bind(), deks, plan.table, plan.column, plan.schema)


def _is_binary(operations: Operations, plan: Plan) -> bool:
    columns = reflected_columns(operations.get_bind(), plan.table, plan.schema)
    return any(is_binary(one["type"]) for one in columns if one["name"] == plan.column)
