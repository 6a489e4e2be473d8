"""What happens to keys over their life. See :class:`Lifecycle`."""

from __future__ import annotations

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_name

ATTEMPTS = 10


class Lifecycle:
    """Changes to keys that touch no data row; found at ``keyring.lifecycle``."""

    def __init__(self, store: KeyStore, wrapper: Wrapper, opened: OpenedKeys) -> None:
        self._store = store
        self._wrapper = wrapper
        self._opened = opened

    def assign(self, tenant: object, kek_uri: str) -> None:
        """Give a tenant a KEK, or give it back to the platform's: every DEK is wrapped anew.

        The new wrappings are proven before they are committed, in one transaction with the removal of
        the old ones. Safe to run twice and while the application runs.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            kek_uri: the KEK's URI.

        Raises:
            ConfigurationError: no provider handles the URI.
            KeyRevoked: the old or the new KEK refuses.
            KeyUnavailable: a KEK or the key tables cannot be reached now.
        """
        name = PLATFORM_TENANT if tenant == PLATFORM_TENANT else tenant_name(tenant)
        provider = self._wrapper.provider_of(kek_uri)
        if not self._store.wraps_anything(kek_uri):
            provider.ensure(kek_uri)
        for _ in range(ATTEMPTS):
            owner = self._store.tenant(name) or self._store.add_tenant(name, kek_uri)
            living = [dek for dek in self._store.deks_of(name) if dek.state is not DekState.DESTROYED]
            wrapped = {dek.id: self._wrapper.wrap(kek_uri, self._wrapper.unwrap(dek)) for dek in living}
            if self._store.replace_wrappings(owner, kek_uri, wrapped):
                self._opened.drop(name)
                return
        raise KeyUnavailable(f"the keys of tenant {name!r} keep changing under us: try again")
