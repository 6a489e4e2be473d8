"""SELECTs of the ORM: whose row they load, or start from, which their results may not say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.orm import InstanceState, ORMExecuteState, Session, object_mapper

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.criteria import TENANT_OPTION
from sqlalchemy_cmk.hooks.fetch import ROW_OPTION, LoadedRow
from sqlalchemy_cmk.hooks.models import sealed_model
from sqlalchemy_cmk.hooks.objects import refuse_found, row_tenant, row_value


def note_row(execution: ORMExecuteState) -> None:
    """Note for a SELECT of the ORM whose row it loads or starts from, which its result may not say."""
    if execution.is_column_load:
        state = private.refreshed_state(execution)
        if state is not None:
            _note_loaded(execution, state)
    elif execution.is_relationship_load and execution.lazy_loaded_from is not None:
        tenant = row_tenant(execution.lazy_loaded_from)
        if tenant is not None:
            execution.update_execution_options(**{TENANT_OPTION: tenant})


def _note_loaded(execution: ORMExecuteState, state: InstanceState[Any]) -> None:
    mapper = object_mapper(state.obj())
    model = sealed_model(mapper)
    if model is None:
        return
    refuse_found(state, may_load=False)
    known = {key: row_value(state, key) for key in model.row_attributes}
    read = state.expired_attributes - state.dict.keys()
    if any(value is None and key not in read for key, value in known.items()):
        # Deferred, or set before what it held was loaded: the SELECT of the ORM does not read it.
        known.update(_stored(execution.session, state, known))
    owner = known.get(model.tenant_attribute or "")
    tenant = None if owner is None else model.tenant(owner)
    identities = {
        table: tuple(known[mapper.get_property_by_column(column).key] for column in identity.columns)
        for table, identity in model.identities.items()
    }
    options: dict[str, Any] = {
        ROW_OPTION: LoadedRow(
            tenant, frozenset(one for one in mapper.tables if isinstance(one, Table)), identities
        )
    }
    compared = row_tenant(state) if tenant is None else tenant
    if compared is not None:
        options[TENANT_OPTION] = compared
    execution.update_execution_options(**options)


def _stored(session: Session, state: InstanceState[Any], keys: Iterable[str]) -> dict[str, Any]:
    """Read what some attributes of an object hold in the database."""
    mapper = state.mapper
    primary = state.key[1] if state.key else ()
    query = select(*(getattr(mapper.class_, key) for key in keys))
    for column, value in zip(mapper.primary_key, primary, strict=True):
        query = query.where(column == value)
    row = session.execute(query).mappings().first()
    return {} if row is None else dict(row)
