"""KEKs in HSMs, through their PKCS#11 modules and python-pkcs11. See :class:`Pkcs11KeyProvider`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from pkcs11 import PKCS11Error

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.base import SHORT, KeyProvider, Wrapped, foreign_algorithm, foreign_version
from sqlalchemy_cmk.providers.pkcs11.checks import check_kek
from sqlalchemy_cmk.providers.pkcs11.choice import ALLOW, Choice
from sqlalchemy_cmk.providers.pkcs11.failures import meaning
from sqlalchemy_cmk.providers.pkcs11.identifiers import FORM, KekIdentifier, is_pkcs11, parse_identifier
from sqlalchemy_cmk.providers.pkcs11.keys import Kek, find_newest, find_versions
from sqlalchemy_cmk.providers.pkcs11.mechanisms import opens_again
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.pins import Pin, PinSource
from sqlalchemy_cmk.providers.pkcs11.profiles import Profile, find_profile
from sqlalchemy_cmk.providers.pkcs11.sessions import DoesNotOpen, Sessions
from sqlalchemy_cmk.providers.pkcs11.tokens import TokenAbsent, name_in
from sqlalchemy_cmk.runtime.kinds import Kind, several
from sqlalchemy_cmk.runtime.secret import Secret

_VERSION = re.compile(r"(?:[0-9a-f]{2}){1,127}", re.ASCII)


class Pkcs11KeyProvider(KeyProvider):
    """Wraps and unwraps in a token. KEKs are named by RFC 7512 URIs, ``pkcs11:token=acme;object=clinic-kek``.

    AES keys wrap with AES key wrap (RFC 3394, 5649) or AES-GCM, RSA keys with RSA-OAEP. The first of the
    profile's algorithms is used that the token lists and that unwraps again what it has wrapped.

    Args:
        module: the path of the vendor's PKCS#11 module; by default the profile's.
        pin: ``"env:NAME"``, ``"file:PATH"``, or a callable that takes the token's label and returns its PIN.
            It is read for each login. ``None`` for tokens without a login, and for those whose PIN is entered
            at the token itself (``CKF_PROTECTED_AUTHENTICATION_PATH``).
        profile: the make of the HSM: a name (``"generic"``, ``"softhsm"``, ...) or a ``Profile``.
        tokens: labels of the tokens that this provider serves, or patterns such as ``"clinic-*"``; by default
            all. Needed if a keyring has providers for several modules.
        make_keys: whether to make a KEK in the token that does not exist and by which nothing is wrapped.

    Raises:
        ConfigurationError: the PIN itself is given, the profile is not known, no module is named, or
            ``tokens`` is a single text.
    """

    def __init__(
        self,
        module: str | os.PathLike[str] | None = None,
        *,
        pin: Pin | None = None,
        profile: Profile | str = "generic",
        tokens: Iterable[str] = (),
        make_keys: bool = False,
    ) -> None:
        self._profile = find_profile(profile)
        Kind((str, os.PathLike), "the path of a PKCS#11 module").or_none.require("module", module)
        path = os.fspath(module) if module is not None else self._profile.module
        if not path:
            raise ConfigurationError("give Pkcs11KeyProvider module=, the path of a PKCS#11 module")
        if isinstance(tokens, str):
            raise ConfigurationError(f"tokens is a list of labels: give [{tokens!r}]")
        several("a list of tokens' labels").require("tokens", tokens)
        self._path = path
        self._pin = None if pin is None else PinSource(pin)
        self._tokens = tuple(tokens)
        self._make_keys = make_keys
        shared = module_at(path)
        shared.ends_before_fork |= self._profile.ends_before_fork
        shared.lost_by_fork = shared.lost_by_fork or self._profile.lost_by_fork
        shared.fresh_for = min(shared.fresh_for, self._profile.fresh_for)
        self._sessions = Sessions(shared, self._pin, self._profile.login)
        self._choice = Choice(self._profile)

    def __repr__(self) -> str:
        return f"Pkcs11KeyProvider({self._path!r}, profile={self._profile.name!r})"

    def handles(self, kek_uri: str) -> bool:
        """Return whether the URI is a PKCS#11 URI of one of this provider's tokens.

        A malformed URI is accepted here, so that this provider refuses it: it may hold a PIN.
        """
        if not is_pkcs11(kek_uri):
            return False
        try:
            label = parse_identifier(kek_uri).token_label
        except ConfigurationError:
            return True
        return not self._tokens or any(fnmatchcase(label, pattern) for pattern in self._tokens)

    def place_of(self, kek_uri: str) -> str:
        """Return the module's path: calls into it are made one at a time, for whichever token."""
        return self._path

    def calls_at_once(self, kek_uri: str) -> int:
        """Return 1, as :meth:`place_of` says."""
        return 1

    def short_version(self, version: str) -> str:
        """Return the version's last eight characters: all ids that are made here begin alike."""
        return version[-SHORT:]

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a DEK with the newest version of the KEK, or the one that the URI names.

        Raises:
            KeyRevoked: the key is not in the token, or may not wrap.
            KeyUnavailable: the token is absent or does not answer.
            CredentialError: there is no PIN, it is refused, or the token is locked.
            ConfigurationError: the URI is not one of a KEK, or no algorithm serves.
        """
        identifier = self._identify(kek_uri)

        def work(session: Any) -> Wrapped:
            kek = find_newest(session, identifier, kek_uri)
            name = self._choice.of(kek, kek_uri)
            return Wrapped(kek_uri, kek.version, name, self._choice.algorithms[name].wrap(kek, dek))

        with _translated(kek_uri):
            wrapped = self._sessions.use(identifier, kek_uri, work)
        self.check_wrapping(wrapped)
        return wrapped

    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Return the DEK, unwrapped in the token by the version that wrapped it.

        Raises:
            TamperedError: this key has not made the wrapped bytes, or see :meth:`check_wrapping`.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        kek_uri = wrapped.kek_uri
        identifier = self._identify(kek_uri)
        self.check_wrapping(wrapped)
        algorithm = self._choice.algorithms[wrapped.algorithm]

        def work(kek: Kek) -> Secret:
            if kek.type is not algorithm.key_type:
                raise TamperedError(f"{kek_uri}: its key wraps nothing with {wrapped.algorithm}")
            if not algorithm.may_use(kek):
                raise KeyRevoked(f"{kek_uri}: the key may no longer unwrap: {ALLOW}")
            return _dek(algorithm.unwrap(kek, wrapped.data), kek_uri)

        def probe(kek: Kek) -> bool:
            return opens_again(algorithm, kek)

        refusal = ""
        with _translated(kek_uri):
            try:
                return self._sessions.unwrap(identifier, wrapped.kek_version, kek_uri, work, probe)
            except DoesNotOpen as error:
                refusal = str(error)
        # Raised outside the except block: the frames of the token's error may hold the DEK.
        raise TamperedError(
            f"{kek_uri}: a wrapped DEK is damaged, or was not wrapped by this key: the token answered "
            f"{refusal} twice, and opens what it wraps now"
        )

    def check_wrapping(self, wrapped: Wrapped) -> None:
        """Refuse an algorithm that the profile does not know, and a version that is no ``CKA_ID`` in hex.

        Raises:
            TamperedError: it is one of these, or not the version that the URI names with ``id=``.
        """
        pinned, version = self._identify(wrapped.kek_uri).id, wrapped.kek_version
        if not _VERSION.fullmatch(version) or pinned not in (None, bytes.fromhex(version)):
            raise foreign_version(wrapped)
        if wrapped.algorithm not in self._choice.algorithms:
            raise foreign_algorithm(wrapped)

    def newest_version(self, kek_uri: str) -> str:
        """Return the id of the version that wraps now; the token is asked."""
        identifier = self._identify(kek_uri)
        with _translated(kek_uri):
            return self._sessions.use(
                identifier, kek_uri, lambda session: find_newest(session, identifier, kek_uri).version
            )

    def health_checks(self, kek_uri: str) -> list[Finding]:
        """Check the key's protection, kind and size, its algorithm, and the token's PIN.

        Wrong PINs are those that the token had counted before this process logged in.
        """
        findings = super().health_checks(kek_uri)
        if any(one.level is Level.PROBLEM for one in findings):
            return findings
        identifier = self._identify(kek_uri)

        def look(session: Any) -> list[Finding]:
            versions = find_versions(session, identifier)
            newest = find_newest(session, identifier, kek_uri)
            algorithm = self._choice.of(newest, kek_uri)
            mistyped = name_in(session.token) in module_at(self._path).mistyped
            return check_kek(newest, versions, algorithm, session.token, kek_uri, mistyped=mistyped)

        try:
            with _translated(kek_uri):
                return findings + self._sessions.use(identifier, kek_uri, look)
        except CmkError as error:
            what = f"not everything could be checked: {error}"
            return [*findings, Finding(Level.WARNING, kek_uri, what, "try again")]

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Make the KEK if it does not exist and ``make_keys`` allows it.

        It is an AES key of 256 bits, or an RSA key of 2048 bits where the token has no algorithm for AES
        keys. A token that may not be written to serves the KEKs that it has.

        Raises:
            ConfigurationError: it does not exist, and ``make_keys`` does not allow it.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        identifier = self._identify(kek_uri)

        def exists(session: Any) -> bool:
            return bool(find_versions(session, identifier))

        def make(session: Any) -> None:
            if not exists(session):
                self._choice.make(session, identifier, kek_uri)

        with _translated(kek_uri):
            if self._sessions.use(identifier, kek_uri, exists):
                return
            if self._make_keys:
                self._sessions.use(identifier, kek_uri, make, rw=True)
                return
        raise ConfigurationError(
            f"{kek_uri}: there is no such key in the token: check its label and id, make it there, or give "
            "Pkcs11KeyProvider(make_keys=True)"
        )

    def rotate(self, kek_uri: str) -> None:
        """Make a new version in the token, of the newest one's kind and size; older versions still unwrap.

        Raises:
            ConfigurationError: the URI names one version, with ``id=``.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        identifier = self._identify(kek_uri)

        def make(session: Any) -> None:
            newest = find_newest(session, identifier, kek_uri)
            self._choice.make(session, identifier, kek_uri, newest, find_versions(session, identifier))

        with _translated(kek_uri):
            self._sessions.use(identifier, kek_uri, make, rw=True)

    def forget(self) -> None:
        """Drop which algorithm was chosen for each KEK; it is tried again."""
        self._choice.forget()

    def close(self) -> None:
        """Close the sessions with the tokens."""
        self._sessions.close()

    def _identify(self, kek_uri: str) -> KekIdentifier:
        if not is_pkcs11(kek_uri):
            raise ConfigurationError(f"write the URI of a KEK in a token as {FORM}")
        return parse_identifier(kek_uri)


@contextmanager
def _translated(kek_uri: str) -> Iterator[None]:
    try:
        yield
    except PKCS11Error as error:
        failure = meaning(error, kek_uri)
    except TokenAbsent as error:
        failure = KeyUnavailable(str(error))
    else:
        return
    # Raised outside the except block, so that the token's error is not its context.
    raise failure


def _dek(key: Secret, kek_uri: str) -> Secret:
    if len(key) != DEK_BYTES:
        raise TamperedError(f"{kek_uri}: a wrapped DEK is damaged: it does not hold {DEK_BYTES} bytes")
    return key
