"""One change of a tenant's keys: planned on what is stored, and planned again where another was first."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.flows import Flow
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys, changed_meanwhile
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
        forget: drops a tenant's opened DEKs from this process.
    """

    def __init__(
        self,
        store: KeyStore,
        wrapper: Wrapper,
        observations: Observations,
        forget: Callable[[str], None],
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._observations = observations
        self._forget = forget

    def make(
        self, tenant: object, plan: Plan, *, first_kek: str | None = None, shredded_too: bool = False
    ) -> None:
        """Plan a change of the stored keys and commit it; plan again where another process was first.

        Args:
            tenant: the tenant's name.
            plan: given the keys as they are stored, returns the change, or ``None`` if nothing is to be done.
            first_kek: the KEK of a tenant that has no keys yet; ``None`` where it has to have some.
            shredded_too: whether the keys of a tenant that was shredded are changed.

        Raises:
            ConfigurationError: there is no such tenant.
            KeyRevoked: it was shredded.
            KeyUnavailable: other processes change its keys all the time.
        """
        name = key_owner(tenant)
        for _ in range(ATTEMPTS):
            keys = self._store.keys_of(name)
            if keys is None and first_kek is not None:
                keys = self._new(name, first_kek)
            if keys is None:
                raise ConfigurationError(f"no tenant {name!r} has keys here")
            if keys.tenant.state is TenantState.SHREDDED and not shredded_too:
                raise KeyRevoked(f"tenant {name!r} was shredded: its keys are destroyed", name)
            change = plan(keys)
            if change is None or self._store.apply(keys, change):
                self._forget(name)
                return
        raise changed_meanwhile(name)

    def _new(self, name: str, kek_uri: str) -> TenantKeys:
        found = self._store.new_tenants([name], kek_uri)[name]
        try:
            if isinstance(found, CmkError):
                raise found
            return found
        finally:
            del found  # an error's traceback holds this frame, which must not hold the error

    def wrap(self, kek_uri: str, keys: TenantKeys, dek: DekRecord) -> Wrapped:
        """Follow :meth:`wrapping`."""
        return self._wrapper.calls.follow(self.wrapping(kek_uri, keys, dek))

    def open(self, keys: TenantKeys, dek: DekRecord) -> Secret:
        """Follow :meth:`opening`."""
        return self._wrapper.calls.follow(self.opening(keys, dek))

    def wrapping(self, kek_uri: str, keys: TenantKeys, dek: DekRecord) -> Flow[Wrapped]:
        """Return one of a tenant's DEKs wrapped by a KEK; one of its wrappings has to open first."""
        key = yield from self.opening(keys, dek)
        return (yield from self._wrapper.wrapping(keys.tenant.name, kek_uri, key)).by

    def opening(self, keys: TenantKeys, dek: DekRecord) -> Flow[Secret]:
        """Return one of a tenant's DEKs, opened by any of the wrappings that are given with it."""
        with self._observations.noting(keys):
            found = yield from self._wrapper.unwrapping(dek)
        self._observations.opened(keys, found.by)
        return found.key
