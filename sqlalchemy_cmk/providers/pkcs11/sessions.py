"""The sessions of one provider, one for each token; work is repeated on a new session if the old one was
lost.

When any code of the process restarts a module, the numbers of sessions and objects are used again, and a
session that is kept may then be another token's. So the result of a kept session is trusted only if the
cipher proves it, as an unwrap does; everything else is done on a session that is opened for it. The new one
is opened before the old one is closed, which would end the login; a token that allows one alone gets one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from pkcs11 import PKCS11Error
from pkcs11.exceptions import FunctionNotSupported, RandomNoRNG, SessionCount

from sqlalchemy_cmk.errors import CmkError, KeyUnavailable
from sqlalchemy_cmk.providers.pkcs11.failures import is_connection, is_gone, is_permanent, meaning, name_of
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier
from sqlalchemy_cmk.providers.pkcs11.keys import Kek, find_version
from sqlalchemy_cmk.providers.pkcs11.module import Module, TokenKey
from sqlalchemy_cmk.providers.pkcs11.pins import PinSource
from sqlalchemy_cmk.providers.pkcs11.tokens import OpenSession, TokenAbsent, find_token, open_session

Result = TypeVar("Result")

MAX_REMEMBERED = 4096
ATTEMPTS = 2
PROBE_BITS = 64


class DoesNotOpen(Exception):
    """A key that opens probes does not open this; the message names the token's refusal."""


class Sessions:
    """The sessions on the tokens of one module.

    Args:
        module: the module.
        pin: the source of PINs; ``None`` for tokens without a login.
        login: the form of a PIN, for messages.
    """

    def __init__(self, module: Module, pin: PinSource | None, login: str) -> None:
        self._module = module
        self._pin = pin
        self._login = login
        self._held: dict[TokenKey, OpenSession] = {}
        self._keks: dict[tuple[KekIdentifier, str], tuple[Any, Kek]] = {}
        module.holders.add(self)

    def unwrap(
        self,
        identifier: KekIdentifier,
        version: str,
        kek_uri: str,
        work: Callable[[Kek], Result],
        probe: Callable[[Kek], bool],
    ) -> Result:
        """Unwrap with a version of a KEK: work that succeeds only with exactly this key.

        The kept session is tried first, and nothing that it answers is final. On a new one a token that
        refuses the work is given a probe: if that opens, the work is tried once more.

        Args:
            identifier: the KEK.
            version: its version.
            kek_uri: its URI.
            work: the unwrap.
            probe: whether the key opens again what it wraps.

        Raises:
            DoesNotOpen: the key opens probes, and does not open this.
            KeyRevoked: the version is not in the token, although the login is valid.
            KeyUnavailable, CredentialError: the token is absent, or refuses the login.
            PKCS11Error: the token refused the work, and does not open a probe either.
        """

        def found(session: Any) -> Kek:
            return find_version(session, identifier, version, kek_uri)

        with self._module.exclusive():
            kept = self._kept(identifier, version, kek_uri)
            if kept is not None:
                try:
                    return work(kept)
                except (PKCS11Error, CmkError) as error:
                    self._keks.pop((identifier, version), None)
                    self._distrust(identifier.token, error)
            for _ in range(ATTEMPTS):
                try:
                    return self.use(identifier, kek_uri, lambda session: work(found(session)))
                except PKCS11Error as error:
                    # On a session of its own: a token may leave a failed operation begun.
                    if not self.use(identifier, kek_uri, lambda session: probe(found(session))):
                        raise
                    refusal = name_of(error)
            raise DoesNotOpen(refusal)

    def use(
        self, identifier: KekIdentifier, kek_uri: str, work: Callable[[Any], Result], *, rw: bool = False
    ) -> Result:
        """Run work on a new session with the token that the URI names now.

        Raises:
            KeyUnavailable, CredentialError: as for :meth:`unwrap`.
            PKCS11Error: the token refused the work itself.
        """
        with self._module.exclusive():
            failure: CmkError | None = None
            for _ in range(ATTEMPTS):
                if failure is not None and not self._module.restart(identifier.token):
                    break
                try:
                    return self._on_new_session(identifier, kek_uri, work, rw)
                except TokenAbsent as error:
                    failure = KeyUnavailable(str(error))
                except PKCS11Error as error:
                    if not is_connection(error):
                        raise
                    failure = meaning(error, kek_uri)
            # Raised outside the except blocks: the frames of the token's error may hold the DEK.
            raise failure or KeyUnavailable(kek_uri)

    def close(self) -> None:
        """Close every session."""
        held, self._held = self._held, {}
        self._keks.clear()
        # If the module does not start any more, there is nothing to close.
        with suppress(CmkError), self._module.exclusive():
            for one in held.values():
                if self._is_ours(one):
                    one.close()

    def answers(self, *, but: TokenKey) -> bool:
        """Return whether a token other than this one answers on its kept session."""
        return any(
            _answers(held) for token, held in self._held.items() if token != but and self._is_ours(held)
        )

    def _is_ours(self, held: OpenSession) -> bool:
        return held.generation == self._module.generation

    def _kept(self, identifier: KekIdentifier, version: str, kek_uri: str) -> Kek | None:
        """Return the object that is remembered, or that the kept session finds; ``None`` without either."""
        held = self._held.get(identifier.token)
        if held is None or held.suspect or not self._is_ours(held):
            return None
        session, kek = self._keks.get((identifier, version), (None, None))
        if session is held.session and kek is not None:
            return kek
        try:
            kek = find_version(held.session, identifier, version, kek_uri)
        except (PKCS11Error, CmkError) as error:
            self._distrust(identifier.token, error)
            return None
        if len(self._keks) >= MAX_REMEMBERED:
            self._keks.clear()
        self._keks[identifier, version] = held.session, kek
        return kek

    def _distrust(self, token: TokenKey, error: PKCS11Error | CmkError) -> None:
        """Keep the session no more that is said to be gone; another one is closed when a new one is open.

        Until then it keeps the login. The number of one that is gone may belong to somebody else by now.
        """
        if isinstance(error, PKCS11Error) and is_gone(error):
            self._held.pop(token, None)
        elif token in self._held:
            self._held[token].suspect = True

    def _on_new_session(
        self, identifier: KekIdentifier, kek_uri: str, work: Callable[[Any], Result], rw: bool
    ) -> Result:
        with self._module.exclusive() as library:
            opened = self._open(library, identifier, kek_uri, rw)
            held = self._held.get(identifier.token)
            # After a restart by other code the new one may have the old one's number.
            if held is not None and held.session.handle != opened.session.handle:
                self._let_go(identifier.token)
            self._held[identifier.token] = opened
            try:
                return work(opened.session)
            except PKCS11Error as error:
                self._distrust(identifier.token, error)
                raise

    def _open(self, library: Any, identifier: KekIdentifier, kek_uri: str, rw: bool) -> OpenSession:
        try:
            token = find_token(library, identifier)
            try:
                return open_session(self._module, token, self._pin, self._login, rw=rw)
            except SessionCount:
                # The token allows one session, and it is ours.
                self._let_go(identifier.token)
                return open_session(self._module, token, self._pin, self._login, rw=rw)
        except PKCS11Error as error:
            if is_permanent(error):
                raise
            raise TokenAbsent(f"{kek_uri}: no session on the token: {name_of(error)}") from None

    def _let_go(self, token: TokenKey) -> None:
        held = self._held.pop(token, None)
        if held is not None and self._is_ours(held):
            held.close()


def _answers(held: OpenSession) -> bool:
    try:
        held.session.generate_random(PROBE_BITS)
    except (FunctionNotSupported, RandomNoRNG):
        return True
    except PKCS11Error:
        return False
    return True
