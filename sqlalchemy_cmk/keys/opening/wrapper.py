"""Wraps and unwraps DEKs through the providers, and proves each new wrapping."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.findings import Finding
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.keys.manifest.check_value import is_checked
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.flows import Call, Flow
from sqlalchemy_cmk.keys.opening.foreign import guarded, require_kind
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.policy import PolicyCheck
from sqlalchemy_cmk.keys.records import DekRecord
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.because import call_id, calls_about, kek_call
from sqlalchemy_cmk.runtime.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A DEK in the clear, as a KEK has just given it.

    Attributes:
        key: the DEK.
        by: the wrapping that gave it.
        at: when the KEK was asked, in seconds of the keyring's clock.
        call: the id under which the vault's own log has the call.
    """

    key: Secret
    by: Wrapped
    at: float
    call: str


class Wrapper:
    """Finds the provider of a KEK and calls it to wrap and unwrap.

    Args:
        providers: the first that handles a KEK's URI serves it.
        telemetry: times the calls.
        policy: says whose KEK may serve whom.
        calls: makes the calls, on threads of its own.
        clock: returns monotonic seconds.

    What calls a KEK is a flow, for :meth:`ProviderCalls.follow_all`, or follows it at once.
    """

    def __init__(
        self,
        providers: Sequence[KeyProvider],
        telemetry: Telemetry,
        policy: PolicyCheck,
        calls: ProviderCalls,
        clock: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._telemetry = telemetry
        self._policy = policy
        self._clock = clock
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

    def wrapping(self, tenant: str, kek_uri: str, dek: Secret) -> Flow[Unwrapped]:
        """Wrap a tenant's DEK and prove the wrapping: the provider unwraps it again where the KEK lives.

        Raises:
            KekNotAllowed: the KEK may not serve the tenant.
            TamperedError: the provider returned another key; the wrapping must not be used.
        """
        self._policy.require(tenant, kek_uri)
        provider = self._serving(tenant, kek_uri)

        def wrap_and_unwrap() -> Unwrapped:
            asked = self._clock()
            wrapped = self._timed("wrap", provider, lambda: provider.wrap(kek_uri, dek))
            require_kind(provider, "wrap", wrapped, Wrapped)
            return Unwrapped(self._unwrapped(provider, wrapped), wrapped, asked, call_id())

        try:
            proof: Unwrapped = yield self._call(
                provider, kek_uri, "change", wrap_and_unwrap, change_of(tenant)
            )
        finally:  # a key that has expired does not wrap
            self._look(provider, kek_uri)
        if proof.key != dek:
            raise TamperedError(
                f"{shown(kek_uri)} does not unwrap what it wrapped: nothing was sealed under it"
            )
        return proof

    def unwrapping(self, dek: DekRecord, reason: str, about: bytes) -> Flow[Unwrapped]:
        """Return a DEK in the clear, proven by its check value, from the first of its wrappings that opens.

        Args:
            dek: the DEK as it is stored.
            reason: why; see :func:`~sqlalchemy_cmk.runtime.because.kek_call`.
            about: what the calls are about, likewise.

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
                return (yield from self.unwrapping_by(dek, wrapped, reason, about))
            except CmkError as error:
                # KeyRevoked is raised only if every KEK refused; an outage may end by itself.
                if isinstance(error, KeyUnavailable) or isinstance(failure, KeyRevoked):
                    failure = error
        try:
            raise failure
        finally:
            # A traceback that holds itself would hold its caller's open cursors too.
            del failure

    def unwrapping_by(self, dek: DekRecord, wrapped: Wrapped, reason: str, about: bytes) -> Flow[Unwrapped]:
        """Return a DEK as one of its wrappings gives it, proven by its check value; see :meth:`unwrapping`.

        Raises:
            TamperedError: the KEK gave another key.
            KeyRevoked, KeyUnavailable, KekNotAllowed: as for :meth:`unwrapping`.
        """
        self._policy.require(dek.tenant, wrapped.kek_uri)
        provider = self._serving(dek.tenant, wrapped.kek_uri)

        def unwrap() -> Unwrapped:
            asked = self._clock()
            return Unwrapped(self._unwrapped(provider, wrapped), wrapped, asked, call_id())

        found: Unwrapped = yield self._call(provider, wrapped.kek_uri, reason, unwrap, about)
        if is_checked(found.key, dek.id, dek.purpose, dek.tenant, dek.check_value):
            return found
        raise TamperedError(
            f"{shown(wrapped.kek_uri)} unwrapped another key than DEK {dek.id.hex()} of tenant "
            f"{dek.tenant!r}: the key tables were altered, or the KEK's vault is broken"
        )

    def _unwrapped(self, provider: KeyProvider, wrapped: Wrapped) -> Secret:
        key = self._timed("unwrap", provider, lambda: provider.unwrap(wrapped))
        require_kind(provider, "unwrap", key, Secret)
        if len(key) != DEK_BYTES:
            raise TamperedError(
                f"{shown(wrapped.kek_uri)} unwrapped {len(key)} bytes, and a DEK has {DEK_BYTES}"
            )
        return key

    def _timed(self, operation: str, provider: KeyProvider, call: Callable[[], T]) -> T:
        with self._telemetry.provider_call(operation, type(provider).__name__):
            return call()

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
