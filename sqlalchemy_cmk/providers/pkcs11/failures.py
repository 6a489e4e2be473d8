"""Translates a token's errors: unavailable, credential, revoked, or refused for good."""

from __future__ import annotations

import pkcs11.exceptions as ck
from pkcs11 import PKCS11Error

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError, KeyRevoked, KeyUnavailable

# CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_ACTION_PROHIBITED: python-pkcs11 has no classes for these.
_NOT_PERMITTED = frozenset({0x68, 0x1B})

# The session is no more.
_GONE = (
    ck.SessionHandleInvalid,
    ck.SessionClosed,
    ck.DeviceRemoved,
    ck.TokenNotPresent,
    ck.TokenNotRecognised,
)

# The token does not do this at all, however often it is asked.
_PERMANENT = (
    ck.AttributeReadOnly,
    ck.AttributeTypeInvalid,
    ck.AttributeValueInvalid,
    ck.FunctionNotSupported,
    ck.FunctionRejected,
    ck.KeySizeRange,
    ck.KeyTypeInconsistent,
    ck.KeyUnextractable,
    ck.MechanismInvalid,
    ck.MechanismParamInvalid,
    ck.SessionReadOnly,
    ck.TemplateIncomplete,
    ck.TemplateInconsistent,
    ck.TokenWriteProtected,
)

# A new session on the token may help, or a restart of the module.
CONNECTION = (
    *_GONE,
    ck.SessionCount,
    ck.DeviceError,
    ck.DeviceMemory,
    ck.HostMemory,
    ck.FunctionCancelled,
)

# The login was refused: trying again with the same PIN locks the token.
LOGIN = (
    ck.PinIncorrect,
    ck.PinInvalid,
    ck.PinLenRange,
    ck.PinExpired,
    ck.PinLocked,
    ck.UserPinNotInitialized,
    ck.UserTooManyTypes,
    ck.AnotherUserAlreadyLoggedIn,
)


def is_connection(error: PKCS11Error) -> bool:
    """Return whether an error is about a session, a token or the module, and not about a key."""
    return isinstance(error, CONNECTION) or is_uninitialized(error)


def is_gone(error: PKCS11Error) -> bool:
    """Return whether an error says that the session is no more, or the module was ended."""
    return isinstance(error, _GONE) or is_uninitialized(error)


def is_permanent(error: PKCS11Error) -> bool:
    """Return whether the token refuses for good: asking again gives the same answer."""
    return isinstance(error, _PERMANENT)


def is_uninitialized(error: PKCS11Error) -> bool:
    """Return whether the module is not initialized; python-pkcs11 has no error class for it."""
    return type(error) is PKCS11Error and "not initialized" in str(error)


def meaning(error: PKCS11Error, kek_uri: str) -> CmkError:
    """Return the library's error for a failure that says nothing about the wrapped bytes."""
    what = f"{kek_uri}: the token answered {name_of(error)}"
    if isinstance(error, LOGIN):
        return CredentialError(
            f"{what}: the application cannot log in: check the PIN, and whether the token has locked it"
        )
    if code_of(error) in _NOT_PERMITTED:
        return KeyRevoked(f"{what}: the key's owner does not allow it to wrap and unwrap")
    if is_permanent(error):
        return ConfigurationError(
            f"{what}, and will again: give profile= the make of the HSM, or choose a KEK that it can use"
        )
    return KeyUnavailable(what)


def code_of(error: PKCS11Error) -> int:
    """Return the number of an error for which python-pkcs11 has no class; -1 for other errors."""
    text = str(error)
    if type(error) is PKCS11Error and text.startswith("Unmapped error code "):
        return int(text.rpartition(" ")[2], 16)
    return -1


def name_of(error: PKCS11Error) -> str:
    """Return the error's name or number, for messages; never its text."""
    if type(error) is not PKCS11Error:
        return type(error).__name__
    return "NotInitialized" if is_uninitialized(error) else f"error 0x{max(code_of(error), 0):X}"
