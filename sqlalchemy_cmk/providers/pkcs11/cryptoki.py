"""Two calls that python-pkcs11 0.10 cannot make: log an open session in, and ask whether it is logged in.

Its ``Token.open(user_pin=...)`` opens a session and logs in; if the login fails, nobody has the session's
number, and it stays open. Closing a session that was opened so logs the whole process out.
"""

from __future__ import annotations

import ctypes
from typing import Any

import pkcs11.exceptions as ck
from pkcs11 import PKCS11Error

from sqlalchemy_cmk.runtime.secret import Secret

# pkcs11f.h of PKCS#11 2.40 has the order of the functions.
_FUNCTIONS = 68
_GET_SESSION_INFO, _LOGIN = 15, 18
_USER = 1
_USER_STATES = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS

_ERRORS = {
    0x05: ck.GeneralError,
    0x06: ck.FunctionFailed,
    0x30: ck.DeviceError,
    0x31: ck.DeviceMemory,
    0x32: ck.DeviceRemoved,
    0x50: ck.FunctionCancelled,
    0x54: ck.FunctionNotSupported,
    0xA0: ck.PinIncorrect,
    0xA1: ck.PinInvalid,
    0xA2: ck.PinLenRange,
    0xA3: ck.PinExpired,
    0xA4: ck.PinLocked,
    0xB0: ck.SessionClosed,
    0xB3: ck.SessionHandleInvalid,
    0xE0: ck.TokenNotPresent,
    0x100: ck.UserAlreadyLoggedIn,
    0x102: ck.UserPinNotInitialized,
    0x104: ck.AnotherUserAlreadyLoggedIn,
    0x105: ck.UserTooManyTypes,
}


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * _FUNCTIONS))


class _SessionInfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_ulong) for name in ("slot", "state", "flags", "device_error"))


class Cryptoki:
    """The functions of a module's only list, called directly.

    Args:
        functions: the list.
    """

    def __init__(self, functions: Any) -> None:
        self._functions = functions

    @classmethod
    def of(cls, path: str) -> Cryptoki | None:
        """Return the functions of a module that is loaded.

        ``None`` for a module that gives each caller a list and sessions of their own, as p11-kit's do.
        """
        first, second = (ctypes.POINTER(_FunctionList)() for _ in range(2))
        library = ctypes.CDLL(path)
        for one in (first, second):
            library.C_GetFunctionList(ctypes.byref(one))
        same = bool(first) and ctypes.addressof(first.contents) == ctypes.addressof(second.contents)
        return cls(first.contents) if same else None

    def log_in(self, session: int, pin: Secret | None) -> None:
        """Log in on a session.

        Args:
            session: its number.
            pin: the PIN; ``None`` to have it entered at the token itself.

        Raises:
            PKCS11Error: the login is refused.
        """
        login = self._function(_LOGIN, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong)
        _check(login(session, _USER, None if pin is None else pin.reveal(), len(pin or ())))

    def is_logged_in(self, session: int) -> bool:
        """Return whether a session sees the user's private objects.

        Raises:
            PKCS11Error: there is no such session.
        """
        info = _SessionInfo()
        look = self._function(_GET_SESSION_INFO, ctypes.c_ulong, ctypes.POINTER(_SessionInfo))
        _check(look(session, ctypes.byref(info)))
        return info.state in _USER_STATES

    def _function(self, number: int, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(ctypes.c_ulong, *arguments)(self._functions.functions[number])


def _check(answer: int) -> None:
    if answer == 0x190:
        raise PKCS11Error("the module is not initialized")
    if answer:
        raise _ERRORS.get(answer, PKCS11Error)(f"Unmapped error code {answer:#x}")
