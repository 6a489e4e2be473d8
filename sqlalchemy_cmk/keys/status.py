"""The status of every tenant's keys, from the key tables and this process."""

from __future__ import annotations

from collections import Counter

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.model import DekState, TenantState, TenantStatus
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.store import KeyStore


def read_status(store: KeyStore, opened: OpenedKeys, platform_key: str) -> list[TenantStatus]:
    """Return one line for each tenant, in the order of their names."""
    return [
        _altered(name, str(keys)) if isinstance(keys, TamperedError) else _line(keys, opened, platform_key)
        for name, keys in store.every()
    ]


def _line(keys: TenantKeys, opened: OpenedKeys, platform_key: str) -> TenantStatus:
    tenant, states = keys.tenant, Counter(dek.state for dek in keys.deks)
    return TenantStatus(
        tenant=tenant.name,
        owner="platform" if tenant.kek_uri == platform_key else "customer",
        kek_uri=tenant.kek_uri,
        versions=tuple(sorted({one.kek_version for dek in keys.deks for one in dek.wrappings})),
        active=states[DekState.ACTIVE],
        retired=states[DekState.RETIRED],
        open=opened.count(tenant.name),
        state=tenant.state,
        reason=tenant.reason,
        state_since=tenant.state_since,
        seen_at=keys.seen_at,
    )


def _altered(tenant: str, reason: str) -> TenantStatus:
    unknown = {"owner": "", "kek_uri": "", "versions": (), "active": 0, "retired": 0, "open": 0}
    state = TenantState.TAMPERED
    return TenantStatus(tenant, **unknown, state=state, reason=reason, state_since=None, seen_at=None)  # type: ignore[arg-type]
