"""KEKs in HSMs over PKCS#11, with python-pkcs11."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from pkcs11 import KeyType, PKCS11Error

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level, Wrapped
from sqlalchemy_cmk.providers.pkcs11.examination import examine_kek
from sqlalchemy_cmk.providers.pkcs11.failures import is_connection, meaning, name_of
from sqlalchemy_cmk.providers.pkcs11.identifiers import FORM, KekIdentifier, is_pkcs11, parse_identifier
from sqlalchemy_cmk.providers.pkcs11.keys import Kek, find_newest, find_versions, make_version
from sqlalchemy_cmk.providers.pkcs11.mechanisms import algorithms_of, opens_again
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.pins import Pin, PinSource
from sqlalchemy_cmk.providers.pkcs11.profiles import Profile, find_profile
from sqlalchemy_cmk.providers.pkcs11.sessions import Sessions
from sqlalchemy_cmk.providers.pkcs11.tokens import TokenAbsent
from sqlalchemy_cmk.sealing import DEK_BYTES

logger = logging.getLogger("sqlalchemy_cmk.providers")

LEGACY = "RSA-OAEP"
ALLOW = "its owner sets CKA_WRAP and CKA_UNWRAP, or CKA_ENCRYPT and CKA_DECRYPT"


class Pkcs11KeyProvider(KeyProvider):
    """Wraps and unwraps in a token; KEKs are named by RFC 7512 URIs, ``pkcs11:token=acme;object=clinic-kek``.

    AES keys wrap with AES key wrap (RFC 3394, 5649) or AES-GCM, RSA keys with RSA-OAEP: with the first of the
    profile's algorithms that the token lists and that opens again what it wrapped.

    Args:
        module: the path of the vendor's PKCS#11 module; the profile's without it.
        pin: ``"env:NAME"``, ``"file:PATH"``, or a callable that takes the token's label and returns its
            PIN. It is read for each login. ``None`` for tokens without a login.
        profile: the make of the HSM: a name (``"generic"``, ``"softhsm"``, ...) or a ``Profile``.
        tokens: labels of the tokens that this provider is for, or patterns such as ``"clinic-*"``; all
            without it. Needed where a keyring has providers for several modules.
        make_keys: whether a KEK that does not exist, and that nothing is wrapped by, is made in the token.

    Raises:
        ConfigurationError: the PIN itself was given, the profile is not known, or no module is named.
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
        path = os.fspath(module) if module is not None else self._profile.module
        if not path:
            raise ConfigurationError("give Pkcs11KeyProvider module=, the path of a PKCS#11 module")
        self._path = path
        self._pin = None if pin is None else PinSource(pin)
        self._tokens = tuple(tokens)
        self._make_keys = make_keys
        self._sessions = Sessions(module_at(path), self._pin, self._profile.login)
        self._algorithms = algorithms_of(self._profile)
        self._chosen: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return f"Pkcs11KeyProvider({self._path!r}, profile={self._profile.name!r})"

    def handles(self, kek_uri: str) -> bool:
        """Tell whether the URI is a PKCS#11 URI, of one of this provider's tokens.

        One that is not well formed is taken too, so that it is refused here: it may hold a PIN.
        """
        if not is_pkcs11(kek_uri):
            return False
        try:
            label = parse_identifier(kek_uri).token_label
        except ConfigurationError:
            return True
        return not self._tokens or any(fnmatchcase(label, pattern) for pattern in self._tokens)

    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
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
            name = self._choose(kek, kek_uri)
            return Wrapped(kek_uri, kek.version, name, self._algorithms[name].wrap(kek, dek))

        with _translated(kek_uri):
            return self._sessions.use(identifier, kek_uri, work)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the DEK, unwrapped in the token by the version that wrapped it.

        Raises:
            TamperedError: the wrapped bytes are not what this key made.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        kek_uri = wrapped.kek_uri
        identifier = self._identify(kek_uri)
        algorithm = self._algorithms.get(wrapped.algorithm)
        if algorithm is None:
            raise TamperedError(f"{kek_uri}: no DEK is wrapped here with the algorithm {wrapped.algorithm!r}")

        def quickly(kek: Kek) -> bytes:
            if kek.type is not algorithm.key_type:
                raise TamperedError(f"{kek_uri}: its key wraps nothing with {wrapped.algorithm}")
            if not algorithm.may_use(kek):
                raise KeyRevoked(f"{kek_uri}: the key may not unwrap any more: {ALLOW}")
            return _dek(algorithm.unwrap(kek, wrapped.data), kek_uri)

        def surely(kek: Kek) -> bytes:
            try:
                return quickly(kek)
            except PKCS11Error as error:
                if is_connection(error) or not opens_again(algorithm, kek):
                    raise
                # The key does its work on other bytes.
                raise TamperedError(
                    f"{kek_uri}: a wrapped DEK is damaged, or was not wrapped by this key ({name_of(error)})"
                ) from None

        with _translated(kek_uri):
            return self._sessions.unwrap(identifier, wrapped.kek_version, kek_uri, quickly, surely)

    def newest_version(self, kek_uri: str) -> str:
        """Return the id of the version that wraps now, asked of the token."""
        identifier = self._identify(kek_uri)
        with _translated(kek_uri):
            return self._sessions.use(
                identifier, kek_uri, lambda session: find_newest(session, identifier, kek_uri).version
            )

    def examine(self, kek_uri: str) -> list[Finding]:
        """Look at the key's protection, kind and size, at its algorithm, and at the token's PIN."""
        findings = super().examine(kek_uri)
        if any(one.level is Level.PROBLEM for one in findings):
            return findings
        identifier = self._identify(kek_uri)

        def look(session: Any) -> list[Finding]:
            versions = find_versions(session, identifier)
            newest = find_newest(session, identifier, kek_uri)
            algorithm = self._choose(newest, kek_uri)
            return examine_kek(newest, versions, algorithm, session.token, kek_uri)

        try:
            with _translated(kek_uri):
                return findings + self._sessions.use(identifier, kek_uri, look)
        except CmkError as error:
            what = f"not everything could be looked at: {error}"
            return [*findings, Finding(Level.WARNING, kek_uri, what, "try again")]

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Make the KEK, of AES with 256 bits, where it does not exist and ``make_keys`` allows it."""
        identifier = self._identify(kek_uri)
        if not self._make_keys:
            return

        def make(session: Any) -> None:
            if not find_versions(session, identifier):
                self._make(session, identifier, kek_uri, None, [])

        with _translated(kek_uri):
            self._sessions.use(identifier, kek_uri, make, rw=True)

    def rotate(self, kek_uri: str) -> None:
        """Make a new version in the token, of the kind and size of the newest; older ones still unwrap.

        Raises:
            ConfigurationError: the URI names one version, with ``id=``.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        identifier = self._identify(kek_uri)

        def make(session: Any) -> None:
            newest = find_newest(session, identifier, kek_uri)
            self._make(session, identifier, kek_uri, newest, find_versions(session, identifier))

        with _translated(kek_uri):
            self._sessions.use(identifier, kek_uri, make, rw=True)

    def close(self) -> None:
        """End the sessions with the tokens."""
        self._sessions.close()

    def _identify(self, kek_uri: str) -> KekIdentifier:
        if not is_pkcs11(kek_uri):
            raise ConfigurationError(f"a KEK in a token is written {FORM}")
        return parse_identifier(kek_uri)

    def _choose(self, kek: Kek, kek_uri: str) -> str:
        """Return the first algorithm that the token lists, the key may use, and that opens again."""
        known = self._chosen.get((kek_uri, kek.version))
        if known is not None and self._algorithms[known].may_use(kek):
            return known
        fit = [(name, self._algorithms[name]) for name in self._profile.prefer]
        fit = [(name, one) for name, one in fit if one.key_type is kek.type]
        if not any(one.may_use(kek) for _, one in fit):
            raise KeyRevoked(f"{kek_uri}: the key may not wrap and unwrap: {ALLOW}")
        listed = {int(one) for one in kek.key.session.token.slot.get_mechanisms()}
        for name, one in fit:
            if one.number in listed and one.may_use(kek) and opens_again(one, kek):
                if name == LEGACY:
                    logger.warning(
                        "%s: the token offers RSA-OAEP with SHA-1 only; SHA-256 was tried first", kek_uri
                    )
                self._chosen[kek_uri, kek.version] = name
                return name
        raise ConfigurationError(
            f"{kek_uri}: the token opens nothing again with {', '.join(name for name, _ in fit)}: "
            "look at its mechanisms and at the key's permissions (docs/hsm.md)"
        )

    def _make(
        self, session: Any, identifier: KekIdentifier, kek_uri: str, like: Kek | None, after: list[Kek]
    ) -> None:
        if identifier.id is not None or not identifier.label:
            raise ConfigurationError(f"{kek_uri} names one version, with id=: a new one needs object= alone")
        listed = {int(one) for one in session.token.slot.get_mechanisms()}
        preferred = [self._algorithms[name] for name in self._profile.prefer]
        type_ = KeyType.AES if like is None else like.type
        best = next((one for one in preferred if one.key_type is type_ and one.number in listed), None)
        if best is None:
            raise ConfigurationError(
                f"{kek_uri}: the token lists no mechanism that a new key could wrap with"
            )
        make_version(session, identifier, like, after, only_wraps=best.only_wraps)


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
    # Raised here so that the token's error is not its context.
    raise failure


def _dek(key: bytes, kek_uri: str) -> bytes:
    if len(key) != DEK_BYTES:
        raise TamperedError(f"{kek_uri}: a wrapped DEK is damaged: it does not hold {DEK_BYTES} bytes")
    return key
