"""Wraps and unwraps DEKs through the providers, and proves each new wrapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.keys.manifest.check_value import is_checked
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.flows import Flow
from sqlalchemy_cmk.keys.opening.foreign import require_kind
from sqlalchemy_cmk.keys.opening.kek_calls import KekCalls, change_of
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.policy import PolicyCheck
from sqlalchemy_cmk.keys.records import DekRecord
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.because import call_id
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


class Wrapper(KekCalls):
    """Calls KEKs to wrap and unwrap DEKs.

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
        super().__init__(providers, policy, calls)
        self._telemetry = telemetry
        self._clock = clock

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
