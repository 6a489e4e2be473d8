"""Flushes: keys are opened before the first statement, and each row's tenant is told to its UPDATE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, object_mapper
from sqlalchemy.orm.attributes import flag_modified, instance_dict

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.fetch import OWNER_OPTION
from sqlalchemy_cmk.orm.tenants import Identity, TenantSource, tenant_source
from sqlalchemy_cmk.scope import PLATFORM_TENANT
from sqlalchemy_cmk.sealed import Sealed
from sqlalchemy_cmk.types import EncryptedType

Owners = dict[tuple[Table, Identity], str]
Need = tuple[Keyring, str, Purpose]

# The flushes under way in this context, the innermost last: a listener may flush another session.
_flushes: ContextVar[tuple[tuple[Session, Owners], ...]] = ContextVar("sqlalchemy_cmk_flushes", default=())


@dataclass(frozen=True, slots=True)
class SealedModel:
    """The sealed attributes of a mapped class, and the attribute that names the tenant."""

    attributes: dict[str, SealedColumn]
    source: TenantSource | None
    tenant_attribute: str | None

    def tenant(self, owner: Any) -> str:
        """Return the tenant's name for what the tenant attribute holds."""
        return PLATFORM_TENANT if self.source is None else self.source.name(owner)


_models: WeakKeyDictionary[Mapper[Any], SealedModel | None] = WeakKeyDictionary()


def sealed_model(mapper: Mapper[Any]) -> SealedModel | None:
    """Return the sealed attributes of a mapper, ``None`` where it has none."""
    if mapper not in _models:
        _models[mapper] = _describe(mapper)
    return _models[mapper]


def _describe(mapper: Mapper[Any]) -> SealedModel | None:
    sealed = {
        attribute.key: attribute.columns[0].type.place
        for attribute in mapper.column_attrs
        if isinstance(attribute.columns[0].type, EncryptedType)
        and isinstance(attribute.columns[0].table, Table)
    }
    places = {key: place for key, place in sealed.items() if place is not None}
    if not places:
        return None
    source = next((s for place in places.values() if (s := tenant_source(place.table))), None)
    tenant = None if source is None else mapper.get_property_by_column(source.column).key
    return SealedModel(places, source, tenant)


def before_flush(session: Session, flush_context: Any, instances: Any) -> None:
    """Open the keys that the flush will need before it sends its first statement."""
    end_of_flush(session)
    _flushes.set((*_flushes.get(), (session, {})))
    for keyring, tenant, purpose in _needed_by_new(session) | _needed_by_dirty(session):
        keyring.active(tenant, purpose)


def _needed_by_new(session: Session) -> set[Need]:
    """Return the keys that new objects need; there may be many objects, and few tenants."""
    models: dict[type[Any], SealedModel | None] = {}
    owners: set[tuple[type[Any], Any]] = set()
    for instance in session.new:
        kind = type(instance)
        if kind not in models:
            models[kind] = sealed_model(inspect(instance).mapper)
        model = models[kind]
        if model is not None:
            owner = instance_dict(instance).get(model.tenant_attribute or "")
            owners.add((kind, _owner(inspect(instance), model) if owner is None else owner))
    needed: set[Need] = set()
    for kind, owner in owners:
        model = models[kind]
        if model is not None:
            needed.update(_needs(model, owner, model.attributes.values()))
    return needed


def _needed_by_dirty(session: Session) -> set[Need]:
    needed: set[Need] = set()
    for instance in session.dirty:
        state = inspect(instance)
        model = sealed_model(state.mapper)
        if model is not None:
            needed.update(_needs(model, _owner(state, model), _to_be_sealed(state, model)))
    return needed


def _needs(model: SealedModel, owner: Any, columns: Iterable[SealedColumn]) -> Iterator[Need]:
    if model.source is None or owner not in (None, ""):
        tenant = model.tenant(owner)
        for column in columns:
            yield column.keyring, tenant, column.purpose


def _owner(state: InstanceState[Any], model: SealedModel) -> Any:
    """Return what the tenant attribute holds, or will hold once a related object has given it."""
    if model.tenant_attribute is None:
        return None
    owner = state.dict.get(model.tenant_attribute)
    return _owner_by_relationship(state, model) if owner is None else owner


def _owner_by_relationship(state: InstanceState[Any], model: SealedModel) -> Any:
    """Return the tenant that a related object, already loaded, will give the row in this flush."""
    for relationship in state.mapper.relationships:
        related = state.dict.get(relationship.key)
        if related is None or relationship.uselist:
            continue
        for local, remote in relationship.local_remote_pairs or ():
            if state.mapper.get_property_by_column(local).key == model.tenant_attribute:
                remote_state = inspect(related)
                return remote_state.dict.get(remote_state.mapper.get_property_by_column(remote).key)
    return None


def _to_be_sealed(state: InstanceState[Any], model: SealedModel) -> list[SealedColumn]:
    tenant = model.tenant_attribute
    moves = tenant is not None and state.attrs[tenant].history.has_changes()
    return [
        column
        for key, column in model.attributes.items()
        if (moves or state.attrs[key].history.has_changes()) and not isinstance(state.dict.get(key), Sealed)
    ]


def before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note the tenant of a row for its UPDATE; a row that changes tenants is sealed anew as a whole."""
    model = sealed_model(mapper)
    flushes = _flushes.get()
    if model is None or model.tenant_attribute is None or not flushes:
        return
    state: InstanceState[Any] = inspect(target)
    tables: set[Table] = set()
    if state.attrs[model.tenant_attribute].history.has_changes():
        tables.update(column.table for column in mapper.get_property(model.tenant_attribute).columns)
        for key in model.attributes:
            getattr(target, key)
            flag_modified(target, key)
    owner = model.tenant(getattr(target, model.tenant_attribute))
    tables.update(column.table for key, column in model.attributes.items() if key in state.committed_state)
    for table in tables:
        identity = tuple(_committed(state, mapper, column) for column in table.primary_key)
        flushes[-1][1][table, identity] = owner


def _committed(state: InstanceState[Any], mapper: Mapper[Any], column: Any) -> Any:
    history = state.attrs[mapper.get_property_by_column(column).key].history
    return history.deleted[0] if history.deleted else history.non_added()[0] if history.non_added() else None


def flushed_owner(table: Table, identity: Identity) -> str | None:
    """Return the tenant of a row that the flush under way updates."""
    for _, owners in reversed(_flushes.get()):
        if (table, identity) in owners:
            return owners[table, identity]
    return None


def end_of_flush(session: Session, *_: Any) -> None:
    """Forget the rows of a flush that has ended or failed."""
    if _flushes.get():
        _flushes.set(tuple(flush for flush in _flushes.get() if flush[0] is not session))


def note_owner(execution: ORMExecuteState) -> None:
    """Tell a SELECT of deferred or refreshed columns whose row it loads, as the row may not say so."""
    if not execution.is_column_load:
        return
    state = private.refreshed_state(execution)
    if state is None:
        return
    model = sealed_model(object_mapper(state.obj()))
    if model is None or model.tenant_attribute is None or model.tenant_attribute not in state.dict:
        return
    history = state.attrs[model.tenant_attribute].history
    owner = (history.deleted or history.unchanged or (None,))[0]
    if owner is not None:
        execution.update_execution_options(**{OWNER_OPTION: model.tenant(owner)})
