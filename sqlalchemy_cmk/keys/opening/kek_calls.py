"""Calls of KEKs: which provider makes them, and under which id; and those that are about a KEK itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.findings import Finding
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.flows import Call, Flow
from sqlalchemy_cmk.keys.opening.foreign import guarded
from sqlalchemy_cmk.keys.policy import PolicyCheck
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.because import calls_about, kek_call


class KekCalls:
    """Finds the provider of a KEK, and calls it about the KEK itself.

    Args:
        providers: the first that handles a KEK's URI serves it.
        policy: says whose KEK may serve whom.
        calls: makes the calls, on threads of its own.

    What calls a KEK is a flow, for :meth:`ProviderCalls.follow_all`, or follows it at once.
    """

    def __init__(self, providers: Sequence[KeyProvider], policy: PolicyCheck, calls: ProviderCalls) -> None:
        self._providers = providers
        self._policy = policy
        self._look: Callable[[KeyProvider, str], None] = lambda provider, kek_uri: None
        self.calls = calls

    def look_with(self, look: Callable[[KeyProvider, str], None]) -> None:
        """Set what looks at the dates of a KEK, given its provider and its URI, once it was described."""
        self._look = look

    def provider_of(self, kek_uri: str) -> KeyProvider:
        """Return the provider of a KEK.

        Raises:
            ConfigurationError: no provider handles its URI.
        """
        return provider_for(self._providers, kek_uri)

    def place_of(self, kek_uri: str) -> str:
        """Return what the calls of a KEK may hang on; see :meth:`KeyProvider.place_of`."""
        provider = self.provider_of(kek_uri)
        return guarded(provider, lambda: provider.place_of(kek_uri))

    def ensuring(self, kek_uris: Collection[str], store: KeyStore) -> dict[str, Flow[None]]:
        """Return what lets providers make those KEKs that wrap nothing yet, where they make KEKs.

        Args:
            kek_uris: the KEKs, which the policy allows.
            store: says which KEKs wrap any DEK.
        """
        in_use, firsts = store.in_use(kek_uris), dict[int, bool]()
        return {uri: self._ensuring(uri, store, firsts) for uri in kek_uris if uri not in in_use}

    def _ensuring(self, kek_uri: str, store: KeyStore, firsts: dict[int, bool]) -> Flow[None]:
        provider = self.provider_of(kek_uri)
        if type(provider).ensure is KeyProvider.ensure:
            return
        first = firsts.get(id(provider))
        if first is None:
            first = not any(map(provider.handles, store.keks_in_use(kek_uri)))
            firsts[id(provider)] = first
        yield self._call(provider, kek_uri, "change", lambda: provider.ensure(kek_uri, first=first))

    def ensure(self, tenant: str, kek_uri: str, store: KeyStore) -> None:
        """Let the provider make a KEK that wraps nothing yet, if it makes KEKs.

        Args:
            tenant: whose DEKs it will wrap.
            kek_uri: the KEK.
            store: says which KEKs wrap any DEK.

        Raises:
            KekNotAllowed: it may not serve the tenant.
        """
        self._policy.require(tenant, kek_uri)
        for flow in self.ensuring([kek_uri], store).values():
            self.calls.follow(flow)

    def check(self, tenant: str, kek_uri: str) -> None:
        """Refuse a KEK that cannot serve a tenant; see :meth:`KeyProvider.check`."""
        provider = self._serving(tenant, kek_uri)
        check = partial(provider.check, kek_uri)
        call = self._call(provider, kek_uri, "change", check, change_of(tenant))
        self.calls.run(call.place, call.make)

    def asking_owners(self, tenants: Iterable[str], kek_uri: str, tag: str) -> Flow[dict[str, Owners | None]]:
        """Return which tenants a KEK names, for each of these tenants; see :meth:`KeyProvider.owners`.

        It is asked once, or once for each tenant where its provider binds wrappings to tenants.
        """
        # By identity: and each is held, so that no other has its id.
        asked: dict[int, tuple[KeyProvider, Owners | None]] = {}
        answers: dict[str, Owners | None] = {}
        for tenant in tenants:
            provider = self._serving(tenant, kek_uri)
            if id(provider) not in asked:
                ask = partial(provider.owners, kek_uri, tag)
                owners = yield self._call(provider, kek_uri, "change", ask, change_of(tenant))
                asked[id(provider)] = provider, owners
            answers[tenant] = asked[id(provider)][1]
        return answers

    def examining(self, tenant: str, kek_uri: str) -> Flow[list[Finding]]:
        """Return the findings of a KEK's health checks; see :meth:`KeyProvider.health_checks`.

        Args:
            tenant: one that it serves.
            kek_uri: the KEK.
        """
        provider = self._serving(tenant, kek_uri)
        found: list[Finding] = yield self._call(
            provider, kek_uri, "doctor", lambda: provider.health_checks(kek_uri)
        )
        self._look(provider, kek_uri)
        return found

    def looking_up(self, kek_uri: str) -> Flow[str | None]:
        """Return the KEK version that wraps now, if its provider can tell; it looks it up."""
        provider = self.provider_of(kek_uri)
        call = self._call(provider, kek_uri, "status", lambda: provider.newest_version(kek_uri))
        newest: str | None = yield replace(call, same=("newest version", kek_uri))
        self._look(provider, kek_uri)
        return newest

    def newest_version(self, kek_uri: str) -> str | None:
        """Follow :meth:`looking_up`."""
        return self.calls.follow(self.looking_up(kek_uri))

    def require_allowed(self, tenant: str, kek_uri: str) -> None:
        """Refuse a KEK that may not serve a tenant.

        Raises:
            KekNotAllowed: the application does not allow it.
        """
        self._policy.require(tenant, kek_uri)

    def _call(
        self,
        provider: KeyProvider,
        kek_uri: str,
        reason: str,
        make: Callable[[], object],
        about: bytes | None = None,
    ) -> Call:
        def named() -> object:
            with kek_call(kek_uri.encode() if about is None else about, reason):
                return guarded(provider, make)

        place = guarded(provider, lambda: provider.place_of(kek_uri))
        at_once = guarded(provider, lambda: provider.calls_at_once(kek_uri))
        return Call(place, kek_uri, at_once, named)

    def _serving(self, tenant: str, kek_uri: str) -> KeyProvider:
        provider = self.provider_of(kek_uri)
        return guarded(provider, lambda: provider.for_tenant(tenant))

    def forget(self) -> None:
        """Let every provider drop what it remembers about KEKs."""
        for provider in self._providers:
            provider.forget()


def change_of(tenant: str) -> bytes:
    """Return what the calls of a change of a tenant's keys are about."""
    return f"keys of {tenant}".encode()


def calls_of_change(tenant: str) -> str:
    """Return how a change of a tenant's keys names its calls in the audit trail."""
    return f"calls {calls_about(change_of(tenant))}"


def provider_for(providers: Iterable[KeyProvider], kek_uri: str) -> KeyProvider:
    """Return the first provider that handles a KEK.

    Raises:
        ConfigurationError: none does.
    """
    for provider in providers:
        if guarded(provider, partial(provider.handles, kek_uri)):
            return provider
    raise ConfigurationError(
        f"no provider handles the KEK '{shown(kek_uri)}': give Keyring(providers=[...]) one"
    )
