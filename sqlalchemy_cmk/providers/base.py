"""The contract of a key provider: two methods that matter, wrap and unwrap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from secrets import token_bytes

from sqlalchemy_cmk.errors import CmkError, TamperedError


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One DEK wrapped by one KEK version.

    Attributes:
        kek_uri: the KEK's name as the tenant was assigned it.
        kek_version: the version that wrapped, as the provider names it.
        algorithm: the wrapping algorithm, recorded so that it opens again years later.
        data: the wrapped DEK.
    """

    kek_uri: str
    kek_version: str
    algorithm: str
    data: bytes


class Level(StrEnum):
    """How a finding stands."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``cmk doctor`` looked at.

    Attributes:
        level: how it stands.
        subject: what was looked at: a KEK's URI, or a column.
        what: what was found.
        mend: how to mend it; empty if all is well.
    """

    level: Level
    subject: str
    what: str
    mend: str = ""


class KeyProvider(ABC):
    """Wraps and unwraps DEKs with KEKs that never leave their place.

    An implementation may be called from any thread and after a fork. It raises
    :class:`~sqlalchemy_cmk.KeyRevoked` when the KEK's owner has taken access away,
    :class:`~sqlalchemy_cmk.KeyUnavailable` when the KEK cannot be reached now, and never one for the other.
    """

    @abstractmethod
    def handles(self, kek_uri: str) -> bool:
        """Tell whether this provider is the one for a KEK URI."""

    @abstractmethod
    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
        """Wrap a DEK (32 bytes) with the newest version of a KEK."""

    @abstractmethod
    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the DEK; it is computed anew where the KEK lives, never from a copy.

        Raises:
            TamperedError: the wrapped bytes are not what this KEK made.
        """

    @abstractmethod
    def newest_version(self, kek_uri: str) -> str:
        """Return the KEK version that new wrappings are made with, asked for now and not remembered."""

    def check(self, kek_uri: str) -> None:
        """Refuse a KEK that cannot serve, before a tenant depends on it.

        Raises:
            ConfigurationError: it is of a wrong kind; the message names the KEK and the mend.
            KeyRevoked: its owner gives no access.
            KeyUnavailable: it cannot be reached now.
        """
        probe = token_bytes(32)
        if not compare_digest(self.unwrap(self.wrap(kek_uri, probe)), probe):
            raise TamperedError(f"{kek_uri} does not unwrap what it wrapped")

    def examine(self, kek_uri: str) -> list[Finding]:
        """Return what is well and what is not with a KEK, for ``cmk doctor``; never raises."""
        try:
            self.check(kek_uri)
        except CmkError as error:
            return [Finding(Level.PROBLEM, kek_uri, str(error), "see docs/revocation.md for this error")]
        return [Finding(Level.OK, kek_uri, "wraps and unwraps")]

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:  # noqa: B027
        """Make the KEK where it does not exist and this provider may make it.

        Called only when nothing is wrapped by this KEK yet: a KEK that has gone missing is never
        replaced by a new one.

        Args:
            kek_uri: the KEK.
            first: whether nothing is wrapped by any KEK of this provider: where KEKs were kept before,
                the place may have gone missing too, and must not be made anew.
        """

    def close(self) -> None:  # noqa: B027
        """Give back connections and sessions."""
