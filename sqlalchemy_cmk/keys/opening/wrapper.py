"""Wraps and unwraps DEKs through the providers, and proves each new wrapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.keys.manifest.check_value import is_checked
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.policy import PolicyCheck
from sqlalchemy_cmk.keys.records import DekRecord
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.secret import Secret

T = TypeVar("T")


class Wrapper:
    """Finds the provider of a KEK and calls it to wrap and unwrap.

    Args:
        providers: the first that handles a KEK's URI serves it.
        telemetry: times the calls.
        policy: says whose KEK may serve whom.
        calls: makes the calls, on threads of its own.
    """

    def __init__(
        self,
        providers: Sequence[KeyProvider],
        telemetry: Telemetry,
        policy: PolicyCheck,
        calls: ProviderCalls,
    ) -> None:
        self._providers = providers
        self._telemetry = telemetry
        self._policy = policy
        self._calls = calls

    def provider_of(self, kek_uri: str) -> KeyProvider:
        """Return the provider of a KEK.

        Raises:
            ConfigurationError: no provider handles its URI.
        """
        return provider_for(self._providers, kek_uri)

    def place_of(self, kek_uri: str) -> str:
        """Return what the calls of a KEK may hang on; see :meth:`KeyProvider.place_of`."""
        return self.provider_of(kek_uri).place_of(kek_uri)

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
        if not store.is_in_use(kek_uri):
            provider = self.provider_of(kek_uri)
            first = not any(map(provider.handles, store.keks_in_use(kek_uri)))
            self._call(kek_uri, lambda: provider.ensure(kek_uri, first=first))

    def check(self, kek_uri: str) -> None:
        """Refuse a KEK that cannot serve; see :meth:`KeyProvider.check`."""
        provider = self.provider_of(kek_uri)
        self._call(kek_uri, lambda: provider.check(kek_uri))

    def newest_version(self, kek_uri: str) -> str:
        """Return the KEK version that wraps now; its provider looks it up."""
        provider = self.provider_of(kek_uri)
        return self._call(kek_uri, lambda: provider.newest_version(kek_uri))

    def require_allowed(self, tenant: str, kek_uri: str) -> None:
        """Refuse a KEK that may not serve a tenant.

        Raises:
            KekNotAllowed: the application does not allow it.
        """
        self._policy.require(tenant, kek_uri)

    def wrap(self, tenant: str, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a tenant's DEK and prove the wrapping: the provider unwraps it again where the KEK lives.

        Raises:
            KekNotAllowed: the KEK may not serve the tenant.
            TamperedError: the provider returned another key; the wrapping must not be used.
        """
        self._policy.require(tenant, kek_uri)
        provider = self.provider_of(kek_uri)
        wrapped = self._timed("wrap", provider, kek_uri, lambda: provider.wrap(kek_uri, dek))
        if self._unwrapped(wrapped) != dek:
            raise TamperedError(
                f"{shown(kek_uri)} does not unwrap what it wrapped: nothing was sealed under it"
            )
        return wrapped

    def unwrap(self, dek: DekRecord) -> tuple[Secret, Wrapped]:
        """Return a DEK in the clear, proven by its check value, and the first of its wrappings that opened.

        Raises:
            KeyUnavailable: a KEK could not be reached, and no other opened it.
            KeyRevoked: every KEK refused, or the DEK was destroyed.
            KekNotAllowed: no KEK that may serve the tenant wraps it.
            TamperedError: what was unwrapped is not this DEK.
        """
        failure: CmkError = KeyRevoked(f"DEK {dek.id.hex()} of tenant {dek.tenant!r} has been destroyed")
        if not dek.wrappings and dek.state is not DekState.DESTROYED:
            failure = TamperedError(
                f"DEK {dek.id.hex()} of tenant {dek.tenant!r} has no wrapping: the table of wrappings was "
                "altered"
            )
        for wrapped in dek.wrappings:
            try:
                return self.unwrap_by(dek, wrapped), wrapped
            except CmkError as error:
                # KeyRevoked is raised only if every KEK refused; an outage may end by itself.
                if isinstance(error, KeyUnavailable) or isinstance(failure, KeyRevoked):
                    failure = error
        try:
            raise failure
        finally:
            # A traceback that holds itself would hold its caller's open cursors too.
            del failure

    def unwrap_by(self, dek: DekRecord, wrapped: Wrapped) -> Secret:
        """Return a DEK as one of its wrappings gives them, proven by its check value.

        Raises:
            TamperedError: the KEK gave another key.
            KeyRevoked, KeyUnavailable, KekNotAllowed: as for :meth:`unwrap`.
        """
        self._policy.require(dek.tenant, wrapped.kek_uri)
        key = self._unwrapped(wrapped)
        if is_checked(key, dek.id, dek.purpose, dek.tenant, dek.check_value):
            return key
        raise TamperedError(
            f"{shown(wrapped.kek_uri)} unwrapped another key than DEK {dek.id.hex()} of tenant "
            f"{dek.tenant!r}: the key tables were altered, or the KEK's vault is broken"
        )

    def _unwrapped(self, wrapped: Wrapped) -> Secret:
        provider = self.provider_of(wrapped.kek_uri)
        key = self._timed("unwrap", provider, wrapped.kek_uri, lambda: provider.unwrap(wrapped))
        if len(key) != DEK_BYTES:
            raise TamperedError(
                f"{shown(wrapped.kek_uri)} unwrapped {len(key)} bytes, and a DEK has {DEK_BYTES}"
            )
        return key

    def _timed(self, operation: str, provider: KeyProvider, kek_uri: str, call: Callable[[], T]) -> T:
        def timed() -> T:
            with self._telemetry.provider_call(operation, type(provider).__name__):
                return call()

        return self._call(kek_uri, timed)

    def _call(self, kek_uri: str, call: Callable[[], T]) -> T:
        return self._calls.run(self.place_of(kek_uri), call)

    def forget(self) -> None:
        """Let every provider drop what it remembers about KEKs."""
        for provider in self._providers:
            provider.forget()


def provider_for(providers: Iterable[KeyProvider], kek_uri: str) -> KeyProvider:
    """Return the first provider that handles a KEK.

    Raises:
        ConfigurationError: none does.
    """
    for provider in providers:
        if provider.handles(kek_uri):
            return provider
    raise ConfigurationError(
        f"no provider handles the KEK '{shown(kek_uri)}': give Keyring(providers=[...]) one"
    )
