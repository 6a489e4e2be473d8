"""Makes a tenant's DEK of a purpose again, or retires it. See :class:`Rotating`."""

from __future__ import annotations

from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.kek_calls import calls_of_change
from sqlalchemy_cmk.keys.opening.making import keks_of
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys


class Rotating:
    """Plans and commits these changes.

    Args:
        changes: makes DEKs, and commits.
        observations: notes which KEKs refuse.
        purpose: of which DEKs.
    """

    def __init__(self, changes: Changes, observations: Observations, purpose: Purpose) -> None:
        self._changes = changes
        self._observations = observations
        self._purpose = purpose
        self._retired = False

    def rotate(self, tenant: object) -> None:
        """Make a new active DEK; the old one is retired."""
        self._changes.make(tenant, self._fresh)

    def retire(self, tenant: object) -> bool:
        """Retire the active DEK, if there is one; return whether there was."""
        self._changes.make(tenant, self._without)
        return self._retired

    def _fresh(self, keys: TenantKeys) -> KeyChange:
        name, kek_uri = keys.tenant.name, keys.tenant.kek_uri
        detail = f"{self._purpose}, {calls_of_change(name)}"
        event = AuditEvent(EventKind.ROTATE, name, "", kek_uri, detail=detail)
        with self._observations.noting(keys):
            return self._changes.fresh_dek(KeyChange((event,)), keys, keks_of(keys), self._purpose)

    def _without(self, keys: TenantKeys) -> KeyChange | None:
        active = keys.active(self._purpose)
        self._retired = active is not None
        if active is None:
            return None
        detail = f"{self._purpose}: no index has tokens under it"
        event = AuditEvent(EventKind.ROTATE, keys.tenant.name, active.id.hex(), detail=detail)
        return KeyChange((event,), retire=(active.id,))
