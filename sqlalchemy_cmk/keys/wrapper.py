"""Wrapping and unwrapping DEKs through the providers, with the proof that a wrapping is good."""

from __future__ import annotations

from collections.abc import Sequence, Set
from hmac import compare_digest

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.model import DekRecord
from sqlalchemy_cmk.keys.telemetry import Telemetry
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.sealing import DEK_BYTES


class Wrapper:
    """Finds the provider of a KEK and has it wrap and unwrap.

    Args:
        providers: asked in order; the first that handles a KEK URI serves it.
        telemetry: times the calls.
    """

    def __init__(self, providers: Sequence[KeyProvider], telemetry: Telemetry) -> None:
        self._providers = tuple(providers)
        self._telemetry = telemetry

    def provider_of(self, kek_uri: str) -> KeyProvider:
        """Return the provider of a KEK.

        Raises:
            ConfigurationError: no provider handles its URI.
        """
        for provider in self._providers:
            if provider.handles(kek_uri):
                return provider
        raise ConfigurationError(
            f"no provider handles the KEK {kek_uri!r}: give Keyring(providers=[...]) one"
        )

    def ensure(self, kek_uri: str, in_use: Set[str]) -> None:
        """Have a KEK made that wraps nothing yet, if its provider makes KEKs.

        Args:
            kek_uri: the KEK.
            in_use: the KEKs that wrap something.
        """
        if kek_uri not in in_use:
            provider = self.provider_of(kek_uri)
            provider.ensure(kek_uri, first=not any(map(provider.handles, in_use)))

    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
        """Wrap a DEK and prove it: the provider has unwrapped it again where the KEK lives.

        Raises:
            TamperedError: the provider gave back another key; the wrapping must not be used.
        """
        provider = self.provider_of(kek_uri)
        with self._telemetry.provider_call("wrap", type(provider).__name__):
            wrapped = provider.wrap(kek_uri, dek)
        if not compare_digest(self._unwrap_by(wrapped), dek):
            raise TamperedError(f"{kek_uri} does not unwrap what it wrapped: nothing was sealed under it")
        return wrapped

    def unwrap(self, dek: DekRecord) -> tuple[bytes, Wrapped]:
        """Return a DEK's 32 bytes, and the first of its wrappings that opens, which gave them.

        Raises:
            KeyUnavailable: some KEK could not be reached, and no other opened it.
            KeyRevoked: every KEK refused, or nothing is wrapped any more.
            TamperedError: what was unwrapped is not a DEK.
        """
        failure: CmkError = KeyRevoked(f"DEK {dek.id.hex()} of tenant {dek.tenant!r} has been destroyed")
        for wrapped in dek.wrappings:
            try:
                key = self._unwrap_by(wrapped)
            except CmkError as error:
                # Revoked is said only where every KEK refused; an outage may end by itself.
                if isinstance(error, KeyUnavailable) or isinstance(failure, KeyRevoked):
                    failure = error
                continue
            if len(key) != DEK_BYTES:
                raise TamperedError(f"DEK {dek.id.hex()} has {len(key)} bytes instead of {DEK_BYTES}")
            return key, wrapped
        raise failure

    def _unwrap_by(self, wrapped: Wrapped) -> bytes:
        provider = self.provider_of(wrapped.kek_uri)
        with self._telemetry.provider_call("unwrap", type(provider).__name__):
            return provider.unwrap(wrapped)

    def close(self) -> None:
        """Close every provider."""
        for provider in self._providers:
            provider.close()
