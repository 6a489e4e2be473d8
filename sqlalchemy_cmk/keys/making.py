"""Making DEKs: 32 random bytes, wrapped, proven and committed before anything is sealed under them."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.keys.model import (
    DekRecord,
    DekState,
    KeyChange,
    OpenedDek,
    Purpose,
    TenantRecord,
    TenantState,
)
from sqlalchemy_cmk.keys.opening import Opener
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.sealing import DEK_BYTES, DEK_ID_BYTES

ATTEMPTS = 50


def new_dek(
    wrapper: Wrapper, tenant: str, purpose: Purpose, kek_uris: tuple[str, ...]
) -> tuple[DekRecord, bytes]:
    """Return a new active DEK, wrapped by each of these KEKs with proof, and its 32 bytes."""
    key = urandom(DEK_BYTES)
    wrappings = tuple(wrapper.wrap(kek_uri, key) for kek_uri in kek_uris)
    return DekRecord(urandom(DEK_ID_BYTES), tenant, purpose, DekState.ACTIVE, wrappings), key


def keks_of(owner: TenantRecord, living: list[DekRecord]) -> tuple[str, ...]:
    """Return the KEKs that wrap a tenant's DEKs, its own first."""
    others = {one.kek_uri for dek in living for one in dek.wrappings if dek.state is DekState.ACTIVE}
    return owner.kek_uri, *sorted(others - {owner.kek_uri})


class Maker:
    """Makes a tenant's DEK at first use, safely when many processes do so at once.

    Args:
        platform_key: URI of the KEK of tenants without one of their own.
        store: where DEKs are stored.
        wrapper: asks the KEKs.
        opener: keeps what was made.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        platform_key: str,
        store: KeyStore,
        wrapper: Wrapper,
        opener: Opener,
        clock: Callable[[], float],
    ) -> None:
        self._platform_key = platform_key
        self._store = store
        self._wrapper = wrapper
        self._opener = opener
        self._clock = clock

    def make(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Make a DEK and commit it; where another process was first, open that one's.

        Raises:
            KeyRevoked: the KEK refuses, or the tenant was shredded.
            KeyUnavailable: the KEK or the key tables cannot be reached.
        """
        for _ in range(ATTEMPTS):
            owner = self._store.tenant(tenant) or self._store.add_tenant(tenant, self._platform_key)
            if owner.state is TenantState.SHREDDED:
                raise KeyRevoked(f"tenant {tenant!r} was shredded: nothing is sealed for it", tenant)
            made = self._commit(owner, purpose)
            if made is not None:
                return made
            theirs = self._store.active_dek(tenant, purpose)
            if theirs is not None:
                return self._opener.prove(theirs)
        raise KeyUnavailable(f"the keys of tenant {tenant!r} keep changing under us: try again")

    def _commit(self, owner: TenantRecord, purpose: Purpose) -> OpenedDek | None:
        self._wrapper.ensure(owner.kek_uri, self._store.keks_in_use())
        now = self._clock()
        kek_uris = keks_of(owner, self._store.living_deks(owner.name))
        try:
            record, key = new_dek(self._wrapper, owner.name, purpose, kek_uris)
        except KeyRevoked as error:
            raise KeyRevoked(str(error), owner.name) from error
        wrapped = record.wrappings[0]
        event = AuditEvent("wrap", owner.name, record.id.hex(), wrapped.kek_uri, wrapped.kek_version, purpose)
        if self._store.apply(owner, KeyChange((event,), new=(record,))):
            return self._opener.keep(record, key, now)
        return None
