"""Watches, or takes over, calls at the C boundary of SoftHSM's module: its function list is in our memory."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The order of CK_FUNCTION_LIST, as pkcs11f.h of PKCS#11 2.40 has it.
_ORDER = """
C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession
C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_Logout
C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue
C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest
C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal
C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal
C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate
C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom
C_GenerateRandom
"""
ORDER = _ORDER.split()
# How many arguments those have that are watched.
ARGUMENTS = {
    "C_Initialize": 1,
    "C_Finalize": 1,
    "C_GetTokenInfo": 2,
    "C_OpenSession": 5,
    "C_CloseSession": 1,
    "C_GetSessionInfo": 2,
    "C_Login": 4,
    "C_Logout": 1,
    "C_CreateObject": 4,
    "C_DestroyObject": 2,
    "C_FindObjectsInit": 3,
    "C_EncryptInit": 3,
    "C_GenerateKey": 5,
    "C_UnwrapKey": 8,
    "C_GenerateRandom": 3,
}
OK = 0

Call = Callable[..., int]


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), *((name, ctypes.c_void_p) for name in ORDER))


def functions(module: str) -> _FunctionList:
    """The module's list of functions."""
    pointer = ctypes.POINTER(_FunctionList)()
    assert ctypes.CDLL(module).C_GetFunctionList(ctypes.byref(pointer)) == OK
    return pointer.contents


@contextmanager
def instead_of(module: str, **replacements: Callable[..., int]) -> Iterator[None]:
    """Have each named function answered by a Python one, which gets the real one and the call's arguments."""
    found = functions(module)
    old = {name: getattr(found, name) for name in replacements}
    kept = []
    for name, replacement in replacements.items():
        kind = ctypes.CFUNCTYPE(ctypes.c_ulong, *[ctypes.c_size_t] * ARGUMENTS[name])
        real = kind(old[name])
        kept.append(kind(lambda *arguments, do=replacement, real=real: do(real, *arguments)))
        setattr(found, name, ctypes.cast(kept[-1], ctypes.c_void_p))
    try:
        yield
    finally:
        for name, address in old.items():
            setattr(found, name, address)


class Counted:
    """What is open and what was asked, counted at the boundary."""

    def __init__(self) -> None:
        self.sessions: set[int] = set()
        self.objects = 0
        self.logins = 0
        self.inside = 0
        self.most_inside = 0

    @contextmanager
    def watching(self, module: str) -> Iterator["Counted"]:
        with instead_of(
            module,
            C_OpenSession=self._open,
            C_CloseSession=self._close,
            C_Finalize=self._finalize,
            C_Login=self._login,
            C_CreateObject=self._made,
            C_UnwrapKey=self._made,
            C_GenerateKey=self._made,
            C_DestroyObject=self._destroyed,
        ):
            yield self

    def _enter(self, real: Call, *arguments: int) -> int:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            return real(*arguments)
        finally:
            self.inside -= 1

    def _open(self, real: Call, *arguments: int) -> int:
        answer = self._enter(real, *arguments)
        if answer == OK:
            self.sessions.add(ctypes.c_ulong.from_address(arguments[4]).value)
        return answer

    def _close(self, real: Call, session: int) -> int:
        answer = self._enter(real, session)
        if answer == OK:
            self.sessions.discard(session)
        return answer

    def _finalize(self, real: Call, nothing: int) -> int:
        self.sessions.clear()
        self.objects = 0
        return self._enter(real, nothing)

    def _login(self, real: Call, *arguments: int) -> int:
        self.logins += 1
        return self._enter(real, *arguments)

    def _made(self, real: Call, *arguments: int) -> int:
        answer = self._enter(real, *arguments)
        self.objects += answer == OK
        return answer

    def _destroyed(self, real: Call, *arguments: int) -> int:
        answer = self._enter(real, *arguments)
        self.objects -= answer == OK
        return answer
