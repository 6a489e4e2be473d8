"""Objects with a sealed primary key: their tenant is remembered, since without it no key finds their row.

An object that is expired, as each is by a commit, has no attribute left that would name it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import InstanceState, Mapper

from sqlalchemy_cmk.columns.type import EncryptedType

TENANT_HELD = "sqlalchemy_cmk.tenant"

_waiting: list[tuple[Mapper[Any], str]] = []


def note_keyed_mapper(mapper: Mapper[Any], model: type[Any]) -> None:
    """Note a mapper of tenants' rows with a sealed primary key."""
    attribute = getattr(model, "__cmk_tenant__", None)
    if attribute is not None and any(isinstance(one.type, EncryptedType) for one in mapper.primary_key):
        _waiting.append((mapper, attribute))


def remember_tenants() -> None:
    """Listen to the loads and flushes of the mappers noted."""
    while _waiting:
        mapper, attribute = _waiting.pop()

        def loaded(state: InstanceState[Any], *_: Any, attribute: str = attribute) -> None:
            if state.dict.get(attribute) is not None:
                state.info[TENANT_HELD] = state.dict[attribute]

        def flushed(
            mapper: Mapper[Any], connection: Connection, target: Any, attribute: str = attribute
        ) -> None:
            loaded(inspect(target), attribute=attribute)

        for name in ("load", "refresh"):
            event.listen(mapper.class_, name, loaded, raw=True, propagate=True)
        for name in ("after_insert", "after_update"):
            event.listen(mapper.class_, name, flushed, propagate=True)
