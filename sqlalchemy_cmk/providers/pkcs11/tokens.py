"""Finds the token that a URI names, and opens sessions that are logged in."""

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
from sqlalchemy_cmk.runtime.secret import Secret

_PRIVATE = {Attribute.PRIVATE: True, Attribute.TOKEN: False}
_NO_AES_KEYS = (ck.MechanismInvalid, ck.FunctionNotSupported, ck.FunctionRejected, ck.KeySizeRange)

LOOKS = 4
LOOK_PAUSE = 0.01

# A refused PIN is remembered as a keyed hash, which is useless outside this process.
_MARKING_KEY = os.urandom(32)


class TokenAbsent(KeyUnavailable):
    """The token is in no slot that the module knows of."""


@dataclass(slots=True)
class OpenSession:
    """A session on a token.

    Attributes:
        session: python-pkcs11's session.
        generation: the initialization of the module to which it belongs.
        suspect: whether a call failed on it: it may be in the middle of an operation, and serves no more.
    """

    session: Any
    generation: int
    suspect: bool = False

    def close(self) -> None:
        """Close it; a session that is already gone is not an error. The token's last one ends the login."""
        with suppress(PKCS11Error):
            self.session.close()


def find_token(library: Any, identifier: KekIdentifier) -> Any:
    """Return the one token that a URI names.

    Raises:
        TokenAbsent: there is no such token now.
        ConfigurationError: there are several.
    """
    for attempt in range(LOOKS):
        tokens, failed = _tokens(library)
        found = [token for token in tokens if _fits(token, identifier)]
        if found or not failed:
            break
        # A token to which another process is writing may fail to report its name.
        time.sleep(LOOK_PAUSE * attempt)
    if not found:
        raise TokenAbsent(f"the token {identifier.token_label!r} is absent, or does not answer")
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} tokens match {identifier.token_label!r}: add serial= to the KEK's URI, or "
            "slot-id= if their serial numbers are the same"
        )
    return found[0]


def open_session(
    module: Module, token: Any, pin: PinSource | None, profile_login: str = "", *, rw: bool = False
) -> OpenSession:
    """Open a session that sees private keys, and log in if the process is not logged in yet.

    Raises:
        CredentialError: the PIN is refused, was refused before, or one more failure would lock the token.
    """
    opened = OpenSession(token.open(rw=rw), module.generation)
    try:
        if token.flags & TokenFlag.LOGIN_REQUIRED and not is_logged_in(module, opened.session):
            _log_in(module, opened.session, pin, profile_login)
    except BaseException:
        opened.close()
        raise
    return opened


def is_logged_in(module: Module, session: Any) -> bool:
    """Return whether private keys can be seen: only then does a key that is not found not exist.

    Where the module cannot be asked, the token makes a private session object, which is destroyed at once.
    Without a login it refuses that (``CKR_USER_NOT_LOGGED_IN``, section 5.7 of PKCS#11 2.40). Of a token that
    makes none on a session that only reads, it is known whether the provider has logged in.
    """
    known = module.is_logged_in(session)
    if known is not None:
        return known
    try:
        try:
            probe = session.generate_key(KeyType.AES, 256, capabilities=0, template=_PRIVATE)
        except _NO_AES_KEYS:
            probe = session.create_object(
                {Attribute.CLASS: ObjectClass.DATA, Attribute.VALUE: b"?", **_PRIVATE}
            )
    except ck.UserNotLoggedIn:
        return False
    except ck.SessionReadOnly:
        return module.has_logged_in(session)
    probe.destroy()
    return True


def _log_in(module: Module, session: Any, source: PinSource | None, form: str) -> None:
    token = session.token
    label = token.label
    if source is None and not token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        raise ConfigurationError(f"the token {label!r} requires a login: give Pkcs11KeyProvider a pin=")
    refuse_risky_login(label, token.flags)
    pin = None if source is None else source.read(label)
    origin = "its own keypad" if source is None else repr(source)
    mark = _mark(token, pin)
    if mark in module.refused:
        remedy = "restart the application" if source is None else f"correct {origin}"
        raise CredentialError(f"the token {label!r} refused this PIN before; it is not tried again: {remedy}")
    # Recorded before the attempt: a PIN whose answer is lost counts as tried.
    module.refused.add(mark)
    try:
        module.log_in(session, pin)
    except ck.UserAlreadyLoggedIn:
        pass  # other code of the process was faster
    except PKCS11Error as error:
        if isinstance(error, LOGIN):
            hint = f", which is written {form}" if form else ""
            raise CredentialError(
                f"the token {label!r} refused the PIN of {origin}{hint}: {name_of(error)}; "
                "it is not tried again"
            ) from None
        module.refused.discard(mark)
        raise
    module.refused.discard(mark)
    _note_mistyped(module, token)


def _note_mistyped(module: Module, token: Any) -> None:
    """Note what the token had counted when it was looked for, before the login reset it."""
    if token.flags & TokenFlag.USER_PIN_COUNT_LOW:
        module.mistyped.add(name_in(token))
    else:
        module.mistyped.discard(name_in(token))


def name_in(token: Any) -> tuple[str, bytes]:
    """Return a token's label and serial number, as :attr:`Module.mistyped` holds them."""
    return token.label, token.serial


def refuse_risky_login(label: str, flags: TokenFlag) -> None:
    """Refuse to log in to a locked token, or to make the last attempt before it locks.

    Raises:
        CredentialError: the token is locked, or the next wrong PIN locks it.
    """
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise CredentialError(f"the PIN of the token {label!r} is locked: let its security officer reset it")
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise CredentialError(
            f"one more wrong PIN locks the token {label!r}: log in once by hand, with the vendor's tool"
        )


def _tokens(library: Any) -> tuple[list[Any], int]:
    """Return the tokens in all slots, and the number of slots that failed to answer."""
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
        "slot-id": str(token.slot.slot_id),
        "slot-description": token.slot.slot_description,
        "slot-manufacturer": token.slot.manufacturer_id,
    }
    return all(facts[name].rstrip("\0 ") == value for name, value in identifier.token)


def _mark(token: Any, pin: Secret | None) -> bytes:
    public = b"\0".join((token.label.encode(), token.serial, b""))
    return blake2b(public + (pin or Secret(b"")).reveal(), key=_MARKING_KEY).digest()
