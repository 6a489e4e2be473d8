"""What the key tables and this process know of every tenant's keys."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy_cmk.keys.model import DekState, TenantStatus
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.keys.store import KeyStore


def read_status(store: KeyStore, opened: OpenedKeys, platform_key: str) -> list[TenantStatus]:
    """Return one line for each tenant, in the order of their names, in three statements."""
    counts = {(tenant, state): count for tenant, state, count in store.dek_counts()}
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for tenant, _, version in store.wrapping_versions():
        versions[tenant].add(version)
    return [
        TenantStatus(
            tenant=line.tenant,
            owner="platform" if line.kek_uri == platform_key else "customer",
            kek_uri=line.kek_uri,
            versions=tuple(sorted(versions[line.tenant])),
            active=counts.get((line.tenant, DekState.ACTIVE), 0),
            retired=counts.get((line.tenant, DekState.RETIRED), 0),
            open=opened.count(line.tenant),
            state=line.state,
            reason=line.reason,
            state_since=line.state_since,
            seen_at=line.seen_at,
        )
        for line in store.tenants()
    ]
