"""Tokens of a module, found by what a URI says of them, and sessions that are logged in."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pkcs11.exceptions as ck
from pkcs11 import Attribute, KeyType, ObjectClass, PKCS11Error, TokenFlag

from sqlalchemy_cmk.errors import ConfigurationError, CredentialError, KeyUnavailable
from sqlalchemy_cmk.providers.pkcs11.failures import LOGIN, name_of
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier
from sqlalchemy_cmk.providers.pkcs11.module import Module
from sqlalchemy_cmk.providers.pkcs11.pins import PinSource

_PRIVATE = {Attribute.PRIVATE: True, Attribute.TOKEN: False}
_NO_AES_KEYS = (ck.MechanismInvalid, ck.FunctionNotSupported, ck.FunctionRejected, ck.KeySizeRange)

LOOKS = 4
LOOK_PAUSE = 0.01

# Refused PINs are remembered by a mark that tells nothing outside of this process.
_MARKING_KEY = os.urandom(32)


class TokenAbsent(KeyUnavailable):
    """The token is in no slot, as far as the module knows."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session on a token.

    Attributes:
        session: python-pkcs11's.
        generation: the module's start to which it belongs.
        logged_in_here: whether the login was made with it: closing it logs the whole process out.
    """

    session: Any
    generation: int
    logged_in_here: bool

    def close(self) -> None:
        """End it; a session that is gone already is no failure."""
        with suppress(PKCS11Error):
            self.session.close()


def find_token(library: Any, identifier: KekIdentifier) -> Any:
    """Return the one token that a URI names.

    Raises:
        TokenAbsent: there is none now.
        ConfigurationError: there are several.
    """
    for attempt in range(LOOKS):
        tokens, failed = _tokens(library)
        found = [token for token in tokens if _fits(token, identifier)]
        if found or not failed:
            break
        # A token that another process writes to right now may refuse to tell its name.
        time.sleep(LOOK_PAUSE * attempt)
    if not found:
        raise TokenAbsent(f"the token {identifier.token_label!r} is not there, or does not answer")
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} tokens fit {identifier.token_label!r}: add serial= to the KEK's URI"
        )
    return found[0]


def open_session(
    module: Module, token: Any, pin: PinSource | None, profile_login: str = "", *, rw: bool = False
) -> OpenSession:
    """Open a session that sees private keys: the token is logged in to where it is not yet.

    A second login would be refused and leave its session open for good: so a session without a PIN
    looks first whether the process is logged in.

    Raises:
        CredentialError: the PIN is refused, was refused before, or its next failure would lock the token.
    """
    opened = OpenSession(token.open(rw=rw), module.generation, False)
    try:
        if not token.flags & TokenFlag.LOGIN_REQUIRED or is_logged_in(opened.session):
            return opened
    except PKCS11Error:
        opened.close()
        raise
    opened.close()
    try:
        return OpenSession(_log_in(module, token, pin, profile_login, rw), module.generation, True)
    except ck.UserAlreadyLoggedIn:
        # Other code of the process was quicker.
        return OpenSession(token.open(rw=rw), module.generation, False)


def is_logged_in(session: Any) -> bool:
    """Tell whether private keys can be seen: only then does a key that is not found no longer exist.

    PKCS#11 refuses a private object to whoever is not logged in (``CKR_USER_NOT_LOGGED_IN``, section
    5.7 of version 2.40); what is made to find out is a session object and is destroyed at once.
    """
    try:
        try:
            probe = session.generate_key(KeyType.AES, 256, capabilities=0, template=_PRIVATE)
        except _NO_AES_KEYS:
            probe = session.create_object(
                {Attribute.CLASS: ObjectClass.DATA, Attribute.VALUE: b"?", **_PRIVATE}
            )
    except ck.UserNotLoggedIn:
        return False
    probe.destroy()
    return True


def _log_in(module: Module, token: Any, source: PinSource | None, form: str, rw: bool) -> Any:
    label = token.label
    if source is None:
        raise ConfigurationError(f"the token {label!r} asks for a login: give Pkcs11KeyProvider a pin=")
    refuse_risky_login(label, token.flags)
    pin = source.read(label)
    mark = _mark(token, pin)
    if mark in module.refused:
        raise CredentialError(
            f"the token {label!r} refused this PIN before; it is not tried again: mend {source!r}"
        )
    # Noted before: a PIN whose answer got lost counts as tried.
    module.refused.add(mark)
    try:
        session = token.open(rw=rw, user_pin=pin)
    except PKCS11Error as error:
        if isinstance(error, LOGIN):
            hint = f", which is written {form}" if form else ""
            raise CredentialError(
                f"the token {label!r} refused the PIN of {source!r}{hint}: {name_of(error)}; "
                "it is not tried again"
            ) from None
        module.refused.discard(mark)
        raise
    module.refused.discard(mark)
    return session


def refuse_risky_login(label: str, flags: TokenFlag) -> None:
    """Leave a locked token alone, and the last try before it locks to a person.

    Raises:
        CredentialError: it is locked, or the next wrong PIN locks it.
    """
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise CredentialError(f"the PIN of the token {label!r} is locked: its security officer resets it")
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise CredentialError(
            f"one wrong PIN more locks the token {label!r}: log in once by hand, with the vendor's tool"
        )


def _tokens(library: Any) -> tuple[list[Any], int]:
    """Return the tokens in all slots, and how many slots failed to tell."""
    found, failed = [], 0
    for slot in library.get_slots(token_present=True):
        try:
            found.append(slot.get_token())
        except (ck.TokenNotPresent, ck.TokenNotRecognised):
            pass
        except PKCS11Error:
            failed += 1
    return found, failed


def _fits(token: Any, identifier: KekIdentifier) -> bool:
    if not token.flags & TokenFlag.TOKEN_INITIALIZED:
        return False
    facts = {
        "token": token.label,
        "serial": token.serial.decode("utf-8", "replace"),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
    }
    return all(facts[name].rstrip("\0 ") == value for name, value in identifier.token)


def _mark(token: Any, pin: str) -> bytes:
    return blake2b(b"\0".join((token.label.encode(), token.serial, pin.encode())), key=_MARKING_KEY).digest()
