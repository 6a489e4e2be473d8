"""Objects of another tenant that a session has already: in a scope they are refused where that can be seen.

No statement is sent for what the identity map answers, so no fetched row is there to be checked.
"""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import InstanceState, Session

from sqlalchemy_cmk.errors import ConfigurationError, TenantMismatch, TenantRequired
from sqlalchemy_cmk.hooks.models import SealedModel, sealed_model
from sqlalchemy_cmk.hooks.sealed_keys import TENANT_HELD
from sqlalchemy_cmk.keys.dry_run import noting
from sqlalchemy_cmk.scope import current_tenant

Instance = TypeVar("Instance")


def row_tenant(state: InstanceState[Any]) -> str | None:
    """Return the tenant of a loaded object's row in the database, as far as it is loaded."""
    model = sealed_model(state.mapper)
    if model is None or model.tenant_attribute is None:
        return None
    owner = row_value(state, model.tenant_attribute)
    if owner is None:
        owner = state.info.get(TENANT_HELD)
    return None if owner is None else model.tenant(owner)


def row_value(state: InstanceState[Any], key: str) -> Any:
    """Return what an attribute holds in the database, as far as it is loaded."""
    if key not in state.dict:
        return None
    history = state.attrs[key].history
    return (history.deleted or history.unchanged or (None,))[0]


def refuse_found(state: InstanceState[Any], may_load: bool) -> None:
    """Refuse an object of another tenant than the scope's that a session found in its identity map.

    Args:
        state: the object's.
        may_load: whether its tenant may be loaded now, where it is not yet.

    Raises:
        TenantMismatch: the scope is another tenant's.
    """
    scoped = current_tenant()
    model = None if scoped is None else _tenants_model(state)
    if scoped is None or model is None:
        return
    owner = row_tenant(state)
    if owner is None and may_load:
        getattr(state.obj(), str(model.tenant_attribute))
        owner = row_tenant(state)
    with noting(_metadata(model)):
        _refuse_other(state, owner, scoped)


def refuse_given(state: InstanceState[Any]) -> None:
    """Refuse to merge an object of another tenant than the scope's into a session.

    Raises:
        TenantMismatch: the scope is another tenant's.
    """
    scoped = current_tenant()
    model = None if scoped is None else _tenants_model(state)
    if scoped is None or model is None:
        return
    with noting(_metadata(model)):
        _refuse_other(state, row_tenant(state) or _given_tenant(state), scoped)


def refuse_attached(session: Session, instance: object) -> None:
    """Refuse to take a detached object of another tenant than the scope's into a session.

    Raises:
        TenantMismatch: the scope is another tenant's.
    """
    state: InstanceState[Any] = inspect(instance)
    if state.key is not None:
        refuse_found(state, may_load=False)


def check_scope(instance: Instance) -> Instance:
    """Return a mapped object if it belongs to the tenant of the scope.

    For objects that no session has looked up just now, and which nothing else would check: from a cache,
    a pickle, a loaded collection, or held from an earlier scope. Nothing is loaded.

    Raises:
        TenantMismatch: it belongs to another tenant.
        TenantRequired: no scope is entered; or the object has opened values, and its tenant attribute is not
            loaded.
        ConfigurationError: it is not an object of a mapped class.
    """
    state = inspect(instance, raiseerr=False)
    if not isinstance(state, InstanceState):
        raise ConfigurationError(f"check_scope takes a mapped object, not {type(instance).__name__}")
    model = _tenants_model(state)
    if model is None:
        return instance
    scoped = current_tenant()
    if scoped is None:
        raise TenantRequired(
            f'{state.class_.__name__}: no scope is entered: check the object inside tenant_scope("...")'
        )
    owner = row_tenant(state) or _given_tenant(state)
    if owner is None and not model.attributes.keys().isdisjoint(state.dict):
        raise TenantRequired(
            f"{state.class_.__name__}.{model.tenant_attribute} is not loaded: whose object it is cannot be "
            "seen. Load it too"
        )
    _refuse_other(state, owner, scoped)
    return instance


def _tenants_model(state: InstanceState[Any]) -> SealedModel | None:
    """Return what is known of an object's class if its sealed values are a tenant's, ``None`` otherwise."""
    model = sealed_model(state.mapper)
    if model is None or model.tenant_attribute is None:
        return None
    return model if any(column.is_tenants for column in model.attributes.values()) else None


def _metadata(model: SealedModel) -> MetaData:
    return next(iter(model.attributes.values())).table.metadata


def _given_tenant(state: InstanceState[Any]) -> str | None:
    model = sealed_model(state.mapper)
    owner = None if model is None else state.dict.get(model.tenant_attribute or "")
    return None if model is None or owner is None else model.tenant(owner)


def _refuse_other(state: InstanceState[Any], owner: str | None, scoped: str) -> None:
    if owner is not None and owner != scoped:
        raise TenantMismatch(
            f"{state.class_.__name__}: the session has this object of tenant {owner!r} from before, but the "
            f"scope is tenant_scope({scoped!r}): use a session of its own for each tenant"
        )
