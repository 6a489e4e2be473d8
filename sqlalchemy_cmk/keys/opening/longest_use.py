"""How long any process may use a DEK after a proof, recorded with the DEK. See :class:`LongestUse`."""

from __future__ import annotations

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys
from sqlalchemy_cmk.keys.storage.store import KeyStore

ATTEMPTS = 20


class LongestUse:
    """Records this process's settings with each DEK that it is about to seal under, if they are the longest.

    The process that destroys a retired DEK may have shorter settings than those that sealed under it. So the
    record says for how long they go on after its retirement. It belongs to the manifest, and is never
    lowered: where settings become shorter, the next rotation makes a DEK that has the new ones.

    Args:
        seconds: for how long this process uses a DEK after a proof.
        store: stores DEKs.
    """

    def __init__(self, seconds: float, store: KeyStore) -> None:
        self.seconds = seconds
        self._store = store

    def noted(self, tenant: str, purpose: Purpose) -> TenantKeys | None:
        """Return a tenant's keys, of which the active DEK has this process's settings recorded.

        Raises:
            KeyUnavailable: the key tables cannot be read or written now.
        """
        for _ in range(ATTEMPTS):
            keys = self._store.keys_of(tenant)
            active = None if keys is None else keys.active(purpose)
            if keys is None or active is None or self._covers(active):
                return keys
            detail = f"up to {self.seconds:g} s after a proof"
            event = AuditEvent(EventKind.LONGEST_USE, tenant, active.id.hex(), detail=detail)
            self._store.apply(keys, KeyChange((event,), longest_use={active.id: self.seconds}))
        raise KeyUnavailable(f"the keys of tenant {tenant!r} are being changed by other processes: try again")

    def is_noted(self, keys: TenantKeys | None, purpose: Purpose) -> bool:
        """Return whether the active DEK among a tenant's keys has this process's settings recorded."""
        active = None if keys is None else keys.active(purpose)
        return active is not None and self._covers(active)

    def _covers(self, dek: DekRecord) -> bool:
        return dek.longest_use >= self.seconds
