"""Mutable tracking beside ``on_revoked="seal"``: a ``Sealed`` is no dict or list that could be tracked.

``sqlalchemy.ext.mutable`` turns each loaded value into its tracking class, and refuses what it does not know.
So the ``Sealed`` of an object just loaded are taken away before its listeners run, and put back after.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper

from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.columns.type import EncryptedType

_HIDDEN = "sqlalchemy_cmk.hidden"

_waiting: list[tuple[Mapper[Any], tuple[str, ...]]] = []


def note_mapper(mapper: Mapper[Any], class_: Any) -> None:
    """Note a mapper with columns that may load a ``Sealed``."""
    # Not .column_attrs: it would configure the mappers, before classes that they name are declared.
    keys = tuple(str(key) for key, column in mapper.columns.items() if _may_be_sealed(column))
    if keys:
        _waiting.append((mapper, keys))


def shield_loads() -> None:
    """Listen to the loads of the mappers noted, once the listeners of mutable types are in place."""
    while _waiting:
        mapper, keys = _waiting.pop()

        def hide(state: InstanceState[Any], *_: Any, keys: tuple[str, ...] = keys) -> None:
            sealed = {key: state.dict.pop(key) for key in keys if type(state.dict.get(key)) is Sealed}
            if sealed:
                state.info[_HIDDEN] = sealed

        def show(state: InstanceState[Any], *_: Any) -> None:
            state.dict.update(state.info.pop(_HIDDEN, {}))

        for name in ("load", "refresh"):
            event.listen(mapper.class_, name, hide, raw=True, propagate=True, insert=True)
            event.listen(mapper.class_, name, show, raw=True, propagate=True)


def _may_be_sealed(column: Any) -> bool:
    return isinstance(column.type, EncryptedType) and column.type.scheme.on_revoked == "seal"
