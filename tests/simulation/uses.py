"""Sees each value at the moment in which it is sealed or opened: where the library calls the cipher.

The associated data says which DEK it is under.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from sqlalchemy_cmk.ciphers import ColumnCipher
from sqlalchemy_cmk.format import HEADER_BYTES

# Called with the id of the DEK, and whether a value is sealed.
Judge = Callable[[bytes, bool], None]

_DEK_ID = slice(len("cmk1") + 1, len("cmk1") + HEADER_BYTES)


class SeenCipher:
    """AES-GCM or AES-SIV, of which each use is judged before it happens."""

    def __init__(self, algorithm: type[AESGCM] | type[AESSIV], judge: Judge, key: bytes) -> None:
        self._real: Any = algorithm(key)
        self._judge = judge

    def encrypt(self, *parts: Any) -> bytes:
        self._judge(_dek_id(parts[-1]), True)
        sealed: bytes = self._real.encrypt(*parts)
        return sealed

    def decrypt(self, *parts: Any) -> bytes:
        self._judge(_dek_id(parts[-1]), False)
        opened: bytes = self._real.decrypt(*parts)
        return opened


def ciphers() -> tuple[type[ColumnCipher], ...]:
    """The library's ciphers; the attribute `algorithm` of each is what it calls."""
    return tuple(ColumnCipher.__subclasses__())


def _dek_id(associated: bytes | list[bytes]) -> bytes:
    return (associated[0] if isinstance(associated, list) else associated)[_DEK_ID]
