"""One change of a tenant's keys: planned on what is stored, and planned again where another was first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from sqlalchemy_cmk.errors import KeyRevoked
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.keys.model import Purpose, TenantState
from sqlalchemy_cmk.keys.opening.flows import Flow
from sqlalchemy_cmk.keys.opening.kek_calls import change_of
from sqlalchemy_cmk.keys.opening.making import new_dek
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys, changed_meanwhile, refuse_locked
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.scope import key_owner

ATTEMPTS = 10

Plan = Callable[[TenantKeys], KeyChange | None]


class Changes:
    """Plans and commits changes of tenants' keys.

    Args:
        store: reads and writes the key tables.
        wrapper: calls the providers.
        observations: notes what the KEKs answer.
        forget: drops tenants' opened DEKs from this process.
        longest_use: for how long this process uses a DEK.
    """

    def __init__(
        self,
        store: KeyStore,
        wrapper: Wrapper,
        observations: Observations,
        forget: Callable[[Collection[str]], None],
        longest_use: float,
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._observations = observations
        self._forget = forget
        self._longest_use = longest_use

    def make(self, tenant: object, plan: Plan, *, shredded_too: bool = False) -> None:
        """Plan a change of the stored keys and commit it; plan again where another process was first.

        Args:
            tenant: the tenant's name.
            plan: given the keys as they are stored, returns the change, or ``None`` if nothing is to be done.
            shredded_too: whether the keys of a tenant that was shredded are changed.

        Raises:
            ConfigurationError: there is no such tenant.
            KeyRevoked: it was shredded.
            KeyUnavailable: other processes change its keys all the time.
        """
        name = key_owner(tenant)
        for _ in range(ATTEMPTS):
            keys = self._store.keys_of(name)
            if keys is None:
                raise unknown_tenant(self._store, name)
            if keys.tenant.state is TenantState.SHREDDED and not shredded_too:
                raise KeyRevoked(f"tenant {name!r} was shredded: its keys are destroyed", name)
            change = plan(keys)
            if change is None or self._store.apply(keys, change):
                self._forget([name])
                return
        raise changed_meanwhile(name)

    def fresh_dek(
        self, change: KeyChange, keys: TenantKeys, kek_uris: tuple[str, ...], purpose: Purpose
    ) -> KeyChange:
        """Follow :meth:`with_fresh_dek`."""
        return self._wrapper.calls.follow(self.with_fresh_dek(change, keys, kek_uris, purpose))

    def wrap(self, kek_uri: str, keys: TenantKeys, dek: DekRecord) -> Wrapped:
        """Follow :meth:`wrapping`."""
        return self._wrapper.calls.follow(self.wrapping(kek_uri, keys, dek))

    def open(self, keys: TenantKeys, dek: DekRecord) -> Secret:
        """Follow :meth:`opening`."""
        return self._wrapper.calls.follow(self.opening(keys, dek))

    def with_fresh_dek(
        self, change: KeyChange, keys: TenantKeys, kek_uris: tuple[str, ...], purpose: Purpose
    ) -> Flow[KeyChange]:
        """Return a change that makes a new active DEK too, wrapped by these KEKs; it retires the old one."""
        refuse_locked(keys)
        record, _ = yield from new_dek(self._wrapper, keys.tenant, purpose, kek_uris, self._longest_use)
        active = keys.active(purpose)
        return replace(change, new=(record,), retire=() if active is None else (active.id,))

    def wrapping(self, kek_uri: str, keys: TenantKeys, dek: DekRecord) -> Flow[Wrapped]:
        """Return one of a tenant's DEKs wrapped by a KEK; one of its wrappings has to open first."""
        key = yield from self.opening(keys, dek)
        return (yield from self._wrapper.wrapping(keys.tenant.name, kek_uri, key)).by

    def opening(self, keys: TenantKeys, dek: DekRecord) -> Flow[Secret]:
        """Return one of a tenant's DEKs, opened by any of the wrappings that are given with it."""
        refuse_locked(keys)
        with self._observations.noting(keys):
            found = yield from self._wrapper.unwrapping(dek, "change", change_of(keys.tenant.name))
        self._observations.opened(keys, found.by)
        return found.key
