"""The status of tenants' keys, from the key tables and this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.model import DekState, TenantKek, TenantState, TenantStatus
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.reader import PAGE
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.keys.storage.tenant_filter import TenantFilter


def read_status(
    store: KeyStore, opened: OpenedKeys, platform_key: str, which: TenantFilter, size: int = PAGE
) -> Iterator[TenantStatus]:
    """Return a line for each tenant, in the order of their names, read as far as they are asked for.

    Args:
        store: has the keys; each line is verified.
        opened: the opened keys of this process.
        platform_key: the platform's KEK.
        which: chooses the tenants. Which are tampered with is known only when they are read.
        size: how many tenants are read at once, at most.
    """
    tampered = which.state is TenantState.TAMPERED
    for page in store.pages(which.in_any_state() if tampered else which, size):
        open_deks = opened.count()
        for name, keys in page:
            if isinstance(keys, TamperedError):
                yield _altered(name, str(keys))
            elif not tampered:
                yield _line(keys, open_deks[name], platform_key)


def _line(keys: TenantKeys, open_deks: int, platform_key: str) -> TenantStatus:
    tenant, states = keys.tenant, Counter(dek.state for dek in keys.deks)
    return TenantStatus(
        tenant=tenant.name,
        owner="platform" if tenant.kek_uri == platform_key else "customer",
        kek_uri=tenant.kek_uri,
        keks=_keks(keys),
        active=states[DekState.ACTIVE],
        retired=states[DekState.RETIRED],
        open=open_deks,
        state=tenant.state,
        reason=tenant.reason,
        state_since=tenant.state_since,
        seen_at=keys.seen_at,
    )


def _keks(keys: TenantKeys) -> tuple[TenantKek, ...]:
    versions: dict[str, set[str]] = {keys.tenant.kek_uri: set()}
    for dek in keys.living:
        for one in dek.wrappings:
            versions.setdefault(one.kek_uri, set()).add(one.kek_version)
    first, *others = versions
    return tuple(TenantKek(uri, tuple(sorted(versions[uri]))) for uri in (first, *sorted(others)))


def _altered(tenant: str, reason: str) -> TenantStatus:
    unknown = {"owner": "", "kek_uri": "", "keks": (), "active": 0, "retired": 0, "open": 0}
    state = TenantState.TAMPERED
    return TenantStatus(tenant, **unknown, state=state, reason=reason, state_since=None, seen_at=None)  # type: ignore[arg-type]
