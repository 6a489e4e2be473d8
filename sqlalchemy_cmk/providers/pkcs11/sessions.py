"""The tokens that one provider uses: a session each, work done on it, and done again where it was lost.

Numbers of sessions and objects are reused when a module is started again, by whoever in the process does
so. A session that is kept may then be another token's. So what is found on a kept session is only believed
if the cipher proves it, which is an unwrap; everything else is looked for on a session opened for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from pkcs11 import PKCS11Error

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.providers.pkcs11.failures import DEVICE, is_connection, meaning, name_of
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier
from sqlalchemy_cmk.providers.pkcs11.keys import Kek, find_version
from sqlalchemy_cmk.providers.pkcs11.module import Module
from sqlalchemy_cmk.providers.pkcs11.pins import PinSource
from sqlalchemy_cmk.providers.pkcs11.tokens import OpenSession, TokenAbsent, find_token, open_session

Result = TypeVar("Result")
TokenKey = tuple[tuple[str, str], ...]

MAX_REMEMBERED = 4096


class Sessions:
    """Sessions on tokens of one module.

    Args:
        module: the module.
        pin: where PINs come from; ``None`` for tokens without a login.
        login: how a PIN is written, for messages.
    """

    def __init__(self, module: Module, pin: PinSource | None, login: str) -> None:
        self._module = module
        self._pin = pin
        self._login = login
        self._held: dict[TokenKey, OpenSession] = {}
        self._keks: dict[tuple[KekIdentifier, str], tuple[Any, Kek]] = {}

    def unwrap(
        self,
        identifier: KekIdentifier,
        version: str,
        kek_uri: str,
        quickly: Callable[[Kek], Result],
        surely: Callable[[Kek], Result],
    ) -> Result:
        """Do something with a version of a KEK that only this very key can do.

        Args:
            identifier: the KEK.
            version: its version.
            kek_uri: its URI.
            quickly: the work, on the kept session; whatever it raises counts as a lost session.
            surely: the work on a new session; what it raises is final.

        Raises:
            KeyRevoked: the version is not in the token, and the login stands.
            KeyUnavailable, CredentialError: the token is not there, or lets nobody in.
            PKCS11Error: the token refused the work itself.
        """
        with self._module.exclusive():
            held = self._held.pop(identifier.token, None)
            failure: Exception | None = None
            if held is not None and held.generation == self._module.generation:
                self._held[identifier.token] = held
                for kek in self._candidates(held, identifier, version, kek_uri):
                    try:
                        return quickly(kek)
                    except (PKCS11Error, CmkError) as error:
                        self._keks.pop((identifier, version), None)
                        failure = error
                    if isinstance(failure, PKCS11Error) and is_connection(failure):
                        break
                del self._held[identifier.token]
            result = self._on_another(held, identifier, version, kek_uri, surely)
            if held is not None and isinstance(failure, DEVICE):
                self._end(held, identifier.token)
            return result

    def use(
        self, identifier: KekIdentifier, kek_uri: str, work: Callable[[Any], Result], *, rw: bool = False
    ) -> Result:
        """Do something on a session that is opened for it, on the token that the URI names now.

        Raises:
            KeyUnavailable, CredentialError: as for :meth:`unwrap`.
            PKCS11Error: the token refused the work itself.
        """
        with self._module.exclusive():
            try:
                return self._on_new_session(identifier, kek_uri, work, rw)
            except (PKCS11Error, TokenAbsent) as error:
                if isinstance(error, PKCS11Error) and not is_connection(error):
                    raise
                if not self._module.restart():
                    raise _said(error, kek_uri) from None
            try:
                return self._on_new_session(identifier, kek_uri, work, rw)
            except PKCS11Error as error:
                if not is_connection(error):
                    raise
                raise meaning(error, kek_uri) from None

    def close(self) -> None:
        """End every session."""
        held, self._held = self._held, {}
        self._keks.clear()
        # Where the module does not start any more there is nothing to end.
        with suppress(CmkError), self._module.exclusive():
            for one in held.values():
                if one.generation == self._module.generation:
                    one.close()

    def _candidates(
        self, held: OpenSession, identifier: KekIdentifier, version: str, kek_uri: str
    ) -> Iterator[Kek]:
        """Give the object that is remembered, then the one that the kept session finds."""
        session, kek = self._keks.get((identifier, version), (None, None))
        if session is held.session and kek is not None:
            yield kek
        try:
            kek = find_version(held.session, identifier, version, kek_uri)
        except (PKCS11Error, CmkError):
            return
        if len(self._keks) >= MAX_REMEMBERED:
            self._keks.clear()
        self._keks[identifier, version] = held.session, kek
        yield kek

    def _on_another(
        self,
        held: OpenSession | None,
        identifier: KekIdentifier,
        version: str,
        kek_uri: str,
        work: Callable[[Kek], Result],
    ) -> Result:
        """Work on a new session; where it does what the kept one could not, it is kept instead.

        The old one is then not closed: its number is nobody's any more, or somebody else's.
        """
        try:
            return self.use(
                identifier, kek_uri, lambda session: work(find_version(session, identifier, version, kek_uri))
            )
        except BaseException:
            if held is not None and held.generation == self._module.generation:
                self._prefer(held, identifier.token)
            raise

    def _end(self, held: OpenSession, token: TokenKey) -> None:
        """Close a session that is ours for sure, on a device that failed; a login goes with its session."""
        held.close()
        new = self._held.get(token)
        if held.logged_in_here and new is not None:
            del self._held[token]
            new.close()

    def _prefer(self, held: OpenSession, token: TokenKey) -> None:
        new = self._held.get(token)
        if new is not None and new.logged_in_here:
            # It cannot be closed without logging out: it stays, and the old one goes.
            if not held.logged_in_here:
                held.close()
            return
        if new is not None:
            new.close()
        self._held[token] = held

    def _on_new_session(
        self, identifier: KekIdentifier, kek_uri: str, work: Callable[[Any], Result], rw: bool
    ) -> Result:
        with self._module.exclusive() as library:
            opened = self._open(library, identifier, kek_uri, rw)
            try:
                return work(opened.session)
            finally:
                held = self._held.get(identifier.token)
                self._held[identifier.token] = opened
                if held is not None and held.generation == opened.generation:
                    self._prefer(held, identifier.token)

    def _open(self, library: Any, identifier: KekIdentifier, kek_uri: str, rw: bool) -> OpenSession:
        try:
            token = find_token(library, identifier)
            return open_session(self._module, token, self._pin, self._login, rw=rw)
        except PKCS11Error as error:
            raise TokenAbsent(f"{kek_uri}: no session on the token: {name_of(error)}") from None


def _said(error: PKCS11Error | TokenAbsent, kek_uri: str) -> CmkError:
    return meaning(error, kek_uri) if isinstance(error, PKCS11Error) else error
