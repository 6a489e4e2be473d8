"""Opens the keys of many tenants before they are needed. See :meth:`KeyOperations.warm`."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.lifecycle.unknown import refuse_unknown
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.questions import ActiveDek
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.parts import in_parts
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# Keys that are in memory at once, however few the keyring keeps, before it goes on with the next tenants.
TOGETHER = 1000


def warm(keys: EngineKeys, tenants: Collection[str], purposes: Collection[Purpose], *, new: bool) -> None:
    """Open tenants' active DEKs, making those that do not exist.

    Args:
        keys: those of the engine.
        tenants: the tenants' names.
        purposes: what the DEKs are for.
        new: whether a tenant may have no keys yet.

    Raises:
        ConfigurationError: one has none, and ``new`` is not given. Nothing is opened or made then.
    """
    needed = list(_needed(keys, tenants, purposes))
    if not new:
        _refuse_unknown(keys, needed)
    failure: CmkError | None = None
    for part in in_parts(needed, TOGETHER):
        try:
            keys.open_all(part).require_all()
        except CmkError as error:
            failure = failure or error
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # an error's traceback holds this frame, which must not hold the error


def _needed(keys: EngineKeys, tenants: Collection[str], purposes: Collection[Purpose]) -> Iterator[ActiveDek]:
    tokens = keys.token_users.written()
    for name in tenants:
        searched = [kind for of_tenants, kind in tokens if of_tenants is (name != PLATFORM_TENANT)]
        yield from (ActiveDek(name, kind) for kind in dict.fromkeys((*purposes, *searched)))


def _refuse_unknown(keys: EngineKeys, needed: Collection[ActiveDek]) -> None:
    """Look up the tenants whose keys are not open; for the others no database is asked."""
    fresh = keys.opened.fresh_active
    closed = [one.tenant for one in needed if fresh(one.tenant, one.purpose) is None]
    names = [one for one in dict.fromkeys(closed) if one != PLATFORM_TENANT]
    if names:
        otherwise = "For a new tenant give new=True."
        off_the_loop(lambda: refuse_unknown(keys.store, names, otherwise=otherwise))
