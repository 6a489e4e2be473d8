"""How long any process may use a DEK after a proof, recorded with the DEK. See :class:`LongestUse`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys, changed_meanwhile
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

    def noted(self, wanted: Mapping[str, Collection[Purpose]]) -> dict[str, TenantKeys | CmkError | None]:
        """Return tenants' keys, of which the active DEKs have this process's settings recorded.

        Args:
            wanted: the purposes of the DEKs by tenant.

        Returns:
            By tenant its keys; ``None`` if it has none, and an error where they cannot be used.

        Raises:
            KeyUnavailable: the key tables cannot be read or written now.
        """
        found: dict[str, TenantKeys | CmkError | None] = {}
        left: Collection[str] = wanted
        for _ in range(ATTEMPTS):
            found |= self._store.keys_of_all(left)
            plans = []
            for tenant in left:
                keys = found[tenant]
                if isinstance(keys, TenantKeys):
                    deks = [
                        dek for one in wanted[tenant] if (dek := keys.active(one)) and not self._covers(dek)
                    ]
                    plans += [(keys, self._change(tenant, deks))] if deks else []
            if not plans:
                return found
            self._store.apply_all(plans)
            left = [keys.tenant.name for keys, _ in plans]
        return found | {tenant: changed_meanwhile(tenant) for tenant in left}

    def is_noted(self, keys: TenantKeys | None, purpose: Purpose) -> bool:
        """Return whether the active DEK among a tenant's keys has this process's settings recorded."""
        active = None if keys is None else keys.active(purpose)
        return active is not None and self._covers(active)

    def _change(self, tenant: str, deks: list[DekRecord]) -> KeyChange:
        detail = f"up to {self.seconds:g} s after a proof"
        events = [AuditEvent(EventKind.LONGEST_USE, tenant, one.id.hex(), detail=detail) for one in deks]
        return KeyChange(tuple(events), longest_use={one.id: self.seconds for one in deks})

    def _covers(self, dek: DekRecord) -> bool:
        return dek.longest_use >= self.seconds
