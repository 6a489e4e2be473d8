"""Flushes: keys are opened before the first statement, and rows are noted for their UPDATE or DELETE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import flag_modified, instance_dict

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.index_slots import keys_to_write
from sqlalchemy_cmk.columns.lookups import Identity
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.hooks.defaults import depended_on, fill_defaults
from sqlalchemy_cmk.hooks.models import SealedModel, sealed_model
from sqlalchemy_cmk.hooks.session_keys import SessionKeys
from sqlalchemy_cmk.hooks.values import MISSING, Row
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.dry_run import noting
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.questions import ActiveDek
from sqlalchemy_cmk.keys.storage.callers import lending
from sqlalchemy_cmk.scope import PLATFORM_TENANT

Need = tuple[EngineKeys, str, Purpose]


@dataclass(frozen=True, slots=True)
class FlushedRow:
    """A row that a flush updates or deletes: its tenant, and what its identity columns will hold."""

    tenant: str
    identity: tuple[Any, ...] | None


Rows = dict[tuple[Table, Identity], FlushedRow]

# The flushes under way in this context, the innermost last: a listener may flush another session.
_flushes: ContextVar[tuple[tuple[Session, Rows], ...]] = ContextVar("sqlalchemy_cmk_flushes", default=())


def before_flush(session: Session, flush_context: Any, instances: Any) -> None:
    """Open the keys that the flush will need before it sends its first statement."""
    end_of_flush(session)
    _flushes.set((*_flushes.get(), (session, {})))
    if session.connection_callable is not None:
        return  # each row of a sharded session may go to another database
    found = SessionKeys(session)
    needed = _needed_by_new(session, found) | _needed_by_dirty(session, found)
    together: dict[EngineKeys, list[ActiveDek]] = {}
    # Always in the same order, so that two runs of the simulation meet the same.
    for keys, tenant, purpose in sorted(needed, key=itemgetter(1, 2)):
        together.setdefault(keys, []).append(ActiveDek(tenant, purpose))
    for keys, questions in together.items():
        with lending(found.connection(keys)):
            keys.open_all(questions).require_all()


def _needed_by_new(session: Session, found: SessionKeys) -> set[Need]:
    """Return the keys that new objects need; there may be many objects, and few tenants."""
    new = list(session.new)
    models = {
        kind: model for kind in set(map(type, new)) if (model := sealed_model(inspect(kind))) is not None
    }
    owned = {kind: model for kind, model in models.items() if model.source is not None}
    owners: set[tuple[type[Any], Any]] = {(kind, None) for kind in models.keys() - owned.keys()}
    needed: set[Need] = set()
    for instance in new if owned else ():
        model = owned.get(type(instance))
        if model is None:
            continue
        if model.is_mixed and not _writes_tenants(inspect(instance), model):
            needed.update(_needs(found, inspect(type(instance)), model, None, model.attributes.values()))
            continue
        owner = instance_dict(instance).get(model.tenant_attribute or "")
        owners.add((type(instance), _owner(inspect(instance), model) if owner is None else owner))
    for kind, owner in owners:
        needed.update(_needs(found, inspect(kind), models[kind], owner, models[kind].attributes.values()))
    return needed


def _writes_tenants(state: InstanceState[Any], model: SealedModel) -> bool:
    """Return whether a new row of tenants' and the platform's columns has a value in one of its tenant's."""
    return any(
        _needs_key(state, key, column) and (key in state.dict or column.column.default is not None)
        for key, column in model.attributes.items()
        if column.is_tenants
    )


def _needed_by_dirty(session: Session, found: SessionKeys) -> set[Need]:
    needed: set[Need] = set()
    for instance in session.dirty:
        state = inspect(instance)
        model = sealed_model(state.mapper)
        if model is not None:
            needed.update(
                _needs(found, state.mapper, model, _owner(state, model), _to_be_sealed(state, model))
            )
    return needed


def _needs(
    found: SessionKeys, mapper: Mapper[Any], model: SealedModel, owner: Any, columns: Iterable[SealedColumn]
) -> Iterator[Need]:
    columns = [one for one in columns if one.dry_run is None]
    if not columns:
        return
    known = model.source is None or owner not in (None, "")
    tenant = model.tenant(owner) if known else PLATFORM_TENANT
    for column in columns:
        if known or not column.is_tenants:
            keys = found.of(mapper, column)
            whose = tenant if column.is_tenants else PLATFORM_TENANT
            for needed_by, purpose in keys_to_write(column, whose, keys.indexes.last_view):
                yield keys, needed_by, purpose


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
        if (moves or state.attrs[key].history.has_changes()) and _needs_key(state, key, column)
    ]


def _needs_key(state: InstanceState[Any], key: str, column: SealedColumn) -> bool:
    """Return whether an attribute's value is sealed by a flush: not NULL, and not what is written back."""
    value = state.dict.get(key, MISSING)
    is_null = value is None and not column.column.type.should_evaluate_none
    return not is_null and not isinstance(value, Sealed)


def before_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Give a new object the Python defaults that its row is sealed with, as SQLAlchemy does afterwards."""
    model = sealed_model(mapper)
    if model is None or not model.defaults:
        return
    held = instance_dict(target)
    for table, attributes in model.defaults.items():
        row: Row = {}
        for key, attribute in attributes.items():
            column, value = table.c[key], held.get(attribute)
            if value is not None or (column.type.should_evaluate_none and attribute in held):
                row[key] = value
            elif column.default is None and column.server_default is None and not column.primary_key:
                row[key] = None
        _fill(connection, table, attributes, target, row, insert=True)


def _fill_updated(connection: Connection, model: SealedModel, target: Any) -> None:
    """Give a changed object the Python values that its row is sealed with at each UPDATE."""
    state: InstanceState[Any] = inspect(target)
    for table, attributes in model.onupdates.items():
        changed = {
            one: state.dict.get(key) for one, key in attributes.items() if key in state.committed_state
        }
        if any(state.attrs[attributes[one]].history.has_changes() for one in changed):
            _fill(connection, table, attributes, target, changed, insert=False)


def _fill(
    connection: Connection, table: Table, attributes: dict[str, str], target: Any, row: Row, *, insert: bool
) -> None:
    given = set(row)
    fill_defaults(connection, table, [row], {}, depended_on(table), insert=insert)
    for key in row.keys() & attributes.keys() - given:
        setattr(target, attributes[key], row[key])
        flag_modified(target, attributes[key])


def before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note a row for its UPDATE; what depends on a tenant or identity that changes is sealed again."""
    model = sealed_model(mapper)
    flushes = _flushes.get()
    if model is None or not flushes:
        return
    state: InstanceState[Any] = inspect(target)
    if model.onupdates:
        _fill_updated(connection, model, target)
    tables = _moved(state, mapper, model, target)
    tables.update(
        column.table
        for key, column in model.attributes.items()
        if key in state.committed_state or column.column.primary_key
    )
    _note_rows(state, mapper, model, tables, target)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note a row for its DELETE, which may name it by a sealed key."""
    model = sealed_model(mapper)
    flushes = _flushes.get()
    if model is None or not flushes:
        return
    state: InstanceState[Any] = inspect(target)
    _note_rows(state, mapper, model, {column.table for column in model.attributes.values()}, target)


def _note_rows(
    state: InstanceState[Any], mapper: Mapper[Any], model: SealedModel, tables: set[Table], target: Any
) -> None:
    """Note a row in each of its tables, for the statements of this flush."""
    rows = _flushes.get()[-1][1]
    for table in tables:
        with noting(table.metadata):
            rows[_row_key(state, mapper, table)] = _flushed(mapper, model, table, target)


def _moved(state: InstanceState[Any], mapper: Mapper[Any], model: SealedModel, target: Any) -> set[Table]:
    """Mark what has to be sealed again as changed; return the tables of tenant columns that change."""
    tables: set[Table] = set()
    tenant = model.tenant_attribute
    again: set[str] = set()
    if tenant is not None and state.attrs[tenant].history.has_changes():
        tables.update(column.table for column in mapper.get_property(tenant).columns)
        again.update(key for key, column in model.attributes.items() if column.is_tenants)
    for table, identity in model.identities.items():
        keys = [mapper.get_property_by_column(column).key for column in identity.columns]
        if any(state.attrs[key].history.has_changes() for key in keys):
            tables.add(table)
            again.update(
                key for key, one in model.attributes.items() if one.table is table and one.scheme.row_bound
            )
    for key in again:
        getattr(target, key)
        flag_modified(target, key)
    return tables


def _row_key(state: InstanceState[Any], mapper: Mapper[Any], table: Table) -> tuple[Table, Identity]:
    return table, tuple(_committed(state, mapper, column) for column in table.primary_key)


def _flushed(mapper: Mapper[Any], model: SealedModel, table: Table, target: Any) -> FlushedRow:
    owner = None if model.tenant_attribute is None else getattr(target, model.tenant_attribute)
    identity = model.identities.get(table)
    if identity is None:
        return FlushedRow(model.tenant(owner), None)
    keys = [mapper.get_property_by_column(column).key for column in identity.columns]
    return FlushedRow(model.tenant(owner), tuple(getattr(target, key) for key in keys))


def _committed(state: InstanceState[Any], mapper: Mapper[Any], column: Any) -> Any:
    history = state.attrs[mapper.get_property_by_column(column).key].history
    return history.deleted[0] if history.deleted else history.non_added()[0] if history.non_added() else None


def flushed_row(table: Table, identity: Identity) -> FlushedRow | None:
    """Return what is noted of a row, by its primary key, that the flush under way updates or deletes."""
    for _, rows in reversed(_flushes.get()):
        if (table, identity) in rows:
            return rows[table, identity]
    return None


def end_of_flush(session: Session, *_: Any) -> None:
    """Forget the rows of a flush that has ended or failed."""
    if _flushes.get():
        _flushes.set(tuple(flush for flush in _flushes.get() if flush[0] is not session))
