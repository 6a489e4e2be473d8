"""One change of a tenant's keys: planned on what is stored, and planned again where another was first."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys
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
                keys = self._store.add_tenant(name, first_kek)
            if keys is None:
                raise ConfigurationError(f"no tenant {name!r} has keys here")
            if keys.tenant.state is TenantState.SHREDDED and not shredded_too:
                raise KeyRevoked(f"tenant {name!r} was shredded: its keys are destroyed", name)
            change = plan(keys)
            if change is None or self._store.apply(keys, change):
                self._forget(name)
                return
        raise KeyUnavailable(f"the keys of tenant {name!r} are being changed by other processes: try again")

    def wrap(self, kek_uri: str, keys: TenantKeys, dek: DekRecord) -> Wrapped:
        """Return one of a tenant's DEKs wrapped by a KEK; one of its wrappings has to open first."""
        return self._wrapper.wrap(keys.tenant.name, kek_uri, self.open(keys, dek))

    def open(self, keys: TenantKeys, dek: DekRecord) -> Secret:
        """Return one of a tenant's DEKs, opened by any of the wrappings that are given with it."""
        with self._observations.noting(keys):
            key, wrapped = self._wrapper.unwrap(dek)
        self._observations.opened(keys, wrapped)
        return key
