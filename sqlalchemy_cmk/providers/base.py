"""The contract of a key provider: above all, wrap a DEK and unwrap it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from sqlalchemy_cmk.errors import CmkError, TamperedError
from sqlalchemy_cmk.findings import Finding, Level, remedy_for
from sqlalchemy_cmk.providers.onboarding import AnyKek, KekOnboarding, OnboardingRequest
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.secret import Secret


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One DEK wrapped by one KEK version.

    Attributes:
        kek_uri: the KEK's URI as it was assigned to the tenant.
        kek_version: the KEK version that wrapped the DEK, as the provider names it.
        algorithm: the wrapping algorithm, recorded so that the DEK can be unwrapped years later.
        data: the wrapped DEK.
    """

    kek_uri: str
    kek_version: str
    algorithm: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KekExpiry:
    """When a KEK version expires.

    Attributes:
        version: the KEK version.
        at: when it expires, in seconds since 1970.
    """

    version: str
    at: float


# For providers that say no more: one printable ASCII word.
_WORD = re.compile(r"[!-~]+", re.ASCII)
MAX_VERSION, MAX_ALGORITHM = 255, 50
SHORT = 8
CALLS_AT_ONCE = 8


class KeyProvider(ABC):
    """Wraps and unwraps DEKs with KEKs that never leave the place where they are kept.

    Methods are called from any thread, and after a fork. They raise :class:`~sqlalchemy_cmk.KeyRevoked` if
    the KEK's owner has taken access away, :class:`~sqlalchemy_cmk.KeyUnavailable` if the KEK cannot be
    reached now, and never one for the other. A keyring takes any error that is not one of this library's own
    for ``KeyUnavailable``, and says only its class and where it was raised: its text may hold a secret.

    Subclass it for your own service, and test that with :class:`~sqlalchemy_cmk.testing.ProviderContract`.
    Four methods are needed: :meth:`handles`, :meth:`wrap`, :meth:`unwrap` and :meth:`newest_version`.

    DEKs are :class:`~sqlalchemy_cmk.providers.Secret`, so that no traceback shows one: ``reveal()`` is the
    argument of the call that needs the bytes, and never a local variable of a frame that may raise.
    """

    @abstractmethod
    def handles(self, kek_uri: str) -> bool:
        """Return whether this provider serves a KEK's URI."""

    @abstractmethod
    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a DEK (32 bytes) with the newest version of a KEK."""

    @abstractmethod
    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Return the DEK. Each call unwraps it where the KEK lives; a provider caches no DEK.

        Raises:
            TamperedError: this KEK has not made the wrapped bytes.
        """

    def check_wrapping(self, wrapped: Wrapped) -> None:
        """Refuse a wrapping whose version or algorithm is none that this provider could have recorded.

        A wrapping comes from a database, and those who write there must not choose where a request goes or
        what it asks for. Providers call this at the start of :meth:`unwrap` and at the end of :meth:`wrap`;
        no KEK is asked.

        Raises:
            TamperedError: its version or its algorithm is outside the provider's closed list.
        """
        if not is_word(wrapped.kek_version, MAX_VERSION):
            raise foreign_version(wrapped)
        if not is_word(wrapped.algorithm, MAX_ALGORITHM):
            raise foreign_algorithm(wrapped)

    @abstractmethod
    def newest_version(self, kek_uri: str) -> str | None:
        """Return the KEK version that wraps now; it is looked up and not taken from a cache.

        ``None`` says that the service does not tell: a rewrap then wraps every DEK again.
        """

    def expiry_of(self, kek_uri: str) -> KekExpiry | None:
        """Return when a KEK expires, as it was last described here; ``None`` if never, or nobody knows.

        No KEK is asked. It is called after each look-up and wrap, and must not block.
        """
        return None

    def for_tenant(self, tenant: str) -> KeyProvider:
        """Return the provider to wrap and unwrap a tenant's DEKs with; by default itself.

        A provider whose service binds a wrapping to a text, as an encryption context, returns one that binds
        it to the tenant. It is called before each use, and must not block.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
        """
        return self

    def owners(self, kek_uri: str, tag: str) -> Owners | None:
        """Return which tenants the KEK's owner says it may serve; ``None`` if these KEKs cannot say.

        A tenant could name a KEK of somebody else's, which the application may use too. So a tenant is put
        under a KEK only if the KEK itself names the tenant. It is asked then, and by ``cmk doctor``; it is
        looked up each time.

        Args:
            kek_uri: the KEK.
            tag: the name of the tag in which owners write it, where the service has tags.
        """
        return None

    def short_version(self, version: str) -> str:
        """Return the part of a version that tells it from a KEK's other versions, for tables.

        By default its first eight characters.
        """
        return version[:SHORT]

    def place_of(self, kek_uri: str) -> str:
        """Return the name of what may hang as a whole when this KEK is called: a vault's host, a module.

        A keyring makes a bounded number of calls to one place at a time, so that a place that hangs holds up
        no other. By default each KEK is a place of its own. The name appears in messages. It is called often,
        and must not block.
        """
        return kek_uri

    def calls_at_once(self, kek_uri: str) -> int:
        """Return how many calls it makes sense to have under way at one place, where many keys are needed.

        By default 8, of which a keyring never makes more at one place. Return 1 where calls do not wait for
        anything, or only for each other: more threads would only be in each other's way.
        """
        return CALLS_AT_ONCE

    def check(self, kek_uri: str) -> None:
        """Refuse a KEK that cannot serve, before a tenant depends on it.

        Raises:
            ConfigurationError: it is of the wrong kind; the message names the KEK and what to do.
            KeyRevoked: its owner gives no access.
            KeyUnavailable: it cannot be reached now.
        """
        probe = Secret(token_bytes(32))
        if self.unwrap(self.wrap(kek_uri, probe)) != probe:
            raise TamperedError(f"{shown(kek_uri)} does not unwrap what it wrapped")

    def health_checks(self, kek_uri: str) -> list[Finding]:
        """Return the findings of the health checks of a KEK, for ``cmk doctor``; never raises."""
        try:
            self.check(kek_uri)
        except CmkError as error:
            return [Finding(Level.PROBLEM, shown(kek_uri), str(error), remedy_for(error))]
        return [Finding(Level.OK, shown(kek_uri), "wraps and unwraps")]

    def onboarding(self, kek_uri: str, request: OnboardingRequest) -> KekOnboarding:
        """Return what a KEK's owner has to do, and whether it was done, for ``cmk onboard``.

        By default a sentence, and :meth:`check`.
        """
        return AnyKek(kek_uri, lambda: self.check(kek_uri))

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:  # noqa: B027
        """Make the KEK if it does not exist and this provider may make it.

        Called only while nothing is wrapped by this KEK: one that has gone missing is never replaced.

        Args:
            kek_uri: the KEK.
            first: whether nothing is wrapped by any KEK of this provider. Otherwise a missing key file (or
                other store of KEKs) is an outage, and must not be made again.
        """

    def record_key_file(self) -> Path | None:
        """Return where this provider keeps a record key for the keyring; ``None`` if it keeps none."""
        return None

    def forget(self) -> None:  # noqa: B027
        """Drop what is remembered about KEKs, such as which version is the newest; they are asked again."""

    def close(self) -> None:  # noqa: B027
        """Close connections and sessions."""


def is_word(text: str, longest: int) -> bool:
    """Return whether a text is one word of printable ASCII characters, not empty and not longer than this."""
    return len(text) <= longest and _WORD.fullmatch(text) is not None


def foreign_version(wrapped: Wrapped) -> TamperedError:
    """Return the error for a wrapping whose KEK version its provider never records."""
    return TamperedError(
        f"{wrapped.kek_uri}: the stored wrapping names the version {_escaped(wrapped.kek_version)}, which is "
        "none of this KEK's: the key tables were changed"
    )


def foreign_algorithm(wrapped: Wrapped) -> TamperedError:
    """Return the error for a wrapping whose algorithm its provider never uses."""
    return TamperedError(
        f"{wrapped.kek_uri}: no DEK is wrapped here with the algorithm {_escaped(wrapped.algorithm)}: "
        "the key tables were changed"
    )


def _escaped(text: str) -> str:
    return ascii(text[:64])
