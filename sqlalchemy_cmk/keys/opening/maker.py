"""Makes DEKs: 32 random bytes, wrapped, proven and committed before anything is sealed under them."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.format import DEK_BYTES, DEK_ID_BYTES
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.manifest.check_value import check_value
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose, TenantState
from sqlalchemy_cmk.keys.opening.longest_use import LongestUse
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.opener import Opener
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys, TenantRecord, by_kek
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.clock import this_second
from sqlalchemy_cmk.runtime.secret import Secret

ATTEMPTS = 50


def new_dek(
    wrapper: Wrapper, tenant: TenantRecord, purpose: Purpose, kek_uris: tuple[str, ...], longest_use: float
) -> tuple[DekRecord, Secret]:
    """Return a new active DEK, with a proven wrapping by each of these KEKs, and the DEK itself.

    Args:
        wrapper: calls the providers.
        tenant: whose it is.
        purpose: what it is for.
        kek_uris: the KEKs.
        longest_use: seconds for which this process may use it after a proof.
    """
    name, key, dek_id = tenant.name, Secret(urandom(DEK_BYTES)), urandom(DEK_ID_BYTES)
    wrappings = by_kek(tuple(wrapper.wrap(name, kek_uri, key) for kek_uri in kek_uris))
    checked, longest = check_value(key, dek_id, purpose, name), max(longest_use, tenant.outage_grace or 0.0)
    made = DekRecord(dek_id, name, purpose, DekState.ACTIVE, wrappings, checked, this_second(), None, longest)
    return made, key


def keks_of(keys: TenantKeys) -> tuple[str, ...]:
    """Return the KEKs that wrap a tenant's DEKs, its own first."""
    active = [one for one in keys.deks if one.state is DekState.ACTIVE]
    others = {one.kek_uri for dek in active for one in dek.wrappings}
    return keys.tenant.kek_uri, *sorted(others - {keys.tenant.kek_uri})


class Maker:
    """Makes a tenant's DEK at first use, also when many processes do so at once.

    Args:
        platform_key: the URI of the KEK of tenants without one of their own.
        store: stores DEKs.
        wrapper: calls the providers.
        opener: caches the new DEK.
        longest_use: notes this process's settings with a DEK that another process has made.
        observations: notes that the KEK refuses.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        platform_key: str,
        store: KeyStore,
        wrapper: Wrapper,
        opener: Opener,
        longest_use: LongestUse,
        observations: Observations,
        clock: Callable[[], float],
    ) -> None:
        self._platform_key = platform_key
        self._store = store
        self._wrapper = wrapper
        self._opener = opener
        self._longest_use = longest_use
        self._observations = observations
        self._clock = clock

    def make(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Make a DEK and commit it, or open the one of another process that was first.

        Raises:
            KeyRevoked: the KEK refuses, or the tenant was shredded.
            KeyUnavailable: the KEK or the key tables cannot be reached.
        """
        for _ in range(ATTEMPTS):
            keys = self._longest_use.noted(tenant, purpose)
            keys = keys or self._store.add_tenant(tenant, self._platform_key)
            if keys.tenant.state is TenantState.SHREDDED:
                raise KeyRevoked(f"tenant {tenant!r} was shredded: nothing can be sealed for it", tenant)
            theirs = keys.active(purpose)
            if theirs is not None and self._longest_use.is_noted(keys, purpose):
                return self._opener.prove(keys, theirs)
            made = self._commit(keys, purpose) if theirs is None else None
            if made is not None:
                return made
        raise KeyUnavailable(f"the keys of tenant {tenant!r} are being changed by other processes: try again")

    def _commit(self, keys: TenantKeys, purpose: Purpose) -> OpenedDek | None:
        tenant = keys.tenant
        self._wrapper.ensure(tenant.name, tenant.kek_uri, self._store)
        now = self._clock()
        try:
            with self._observations.noting(keys):
                record, key = new_dek(
                    self._wrapper, tenant, purpose, keks_of(keys), self._longest_use.seconds
                )
        except KeyRevoked as error:
            raise KeyRevoked(str(error), tenant.name) from error
        wrapped = next(one for one in record.wrappings if one.kek_uri == tenant.kek_uri)
        event = AuditEvent(
            EventKind.WRAP, tenant.name, record.id.hex(), wrapped.kek_uri, wrapped.kek_version, purpose
        )
        if self._store.apply(keys, KeyChange((event,), new=(record,))):
            return self._opener.keep(tenant, record, key, wrapped, now)
        return None
