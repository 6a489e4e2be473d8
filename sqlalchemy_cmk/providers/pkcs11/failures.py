"""What a token's refusals mean: unavailable, the application's own login, or something else."""

from __future__ import annotations

import pkcs11.exceptions as ck
from pkcs11 import PKCS11Error

from sqlalchemy_cmk.errors import CmkError, CredentialError, KeyRevoked, KeyUnavailable

# CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_ACTION_PROHIBITED: python-pkcs11 has no classes for these.
_NOT_PERMITTED = frozenset({0x68, 0x1B})

# The device failed at something; the session is there all the same.
DEVICE = (
    ck.DeviceError,
    ck.DeviceMemory,
    ck.HostMemory,
    ck.FunctionCancelled,
    ck.FunctionFailed,
    ck.GeneralError,
)

# A new session on the token may do, or a new start of the module.
CONNECTION = (
    ck.SessionHandleInvalid,
    ck.SessionClosed,
    ck.SessionCount,
    ck.DeviceRemoved,
    ck.DeviceError,
    ck.DeviceMemory,
    ck.TokenNotPresent,
    ck.TokenNotRecognised,
    ck.HostMemory,
    ck.FunctionCancelled,
)

# The login is refused: asking again with the same PIN locks the token.
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
    """Tell whether a session, a token or the module is gone, rather than something about a key."""
    return isinstance(error, CONNECTION) or is_uninitialized(error)


def is_uninitialized(error: PKCS11Error) -> bool:
    """Tell whether the module is not initialized; python-pkcs11 has only its own words for that."""
    return type(error) is PKCS11Error and "not initialized" in str(error)


def meaning(error: PKCS11Error, kek_uri: str) -> CmkError:
    """Return the error of ours for a failure that says nothing about the wrapped bytes."""
    what = f"{kek_uri}: the token answered {name_of(error)}"
    if isinstance(error, LOGIN):
        return CredentialError(f"{what}: the application cannot log in; see docs/hsm.md")
    if code_of(error) in _NOT_PERMITTED:
        return KeyRevoked(f"{what}: the key's owner does not let it wrap and unwrap")
    return KeyUnavailable(what)


def code_of(error: PKCS11Error) -> int:
    """Return the number of an error for which python-pkcs11 has no class; -1 for others."""
    text = str(error)
    if type(error) is PKCS11Error and text.startswith("Unmapped error code "):
        return int(text.rpartition(" ")[2], 16)
    return -1


def name_of(error: PKCS11Error) -> str:
    """Return what the token answered, for messages: the name or the number, never the text."""
    if type(error) is not PKCS11Error:
        return type(error).__name__
    return "NotInitialized" if is_uninitialized(error) else f"error 0x{max(code_of(error), 0):X}"
