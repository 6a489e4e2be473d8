"""Secrets in memory, shown by no ``repr``, log line or crash report."""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

from sqlalchemy_cmk.errors import ConfigurationError

__all__ = ["Secret"]

_BYTES = (bytes, bytearray, memoryview)


class Secret:
    """Bytes that are secret: a DEK, or a key that authenticates records.

    A traceback's locals show the length and nothing else. Crash reporters decode ``bytes`` and their
    subclasses, so this is neither. Comparing two takes the same time wherever they differ.

    Args:
        value: the bytes. They are the argument of a call, so they should not be a local variable of its
            caller: write ``Secret(urandom(32))``.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, _BYTES):  # bytes(32) would be 32 zeros
            raise ConfigurationError(f"Secret takes bytes, not {type(value).__name__}")
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes: give them straight to the call that needs them, and keep them nowhere."""
        return self.__value

    def part(self, at: int, size: int) -> Secret:
        """Return so many bytes of it from a position on, as a secret."""
        return Secret(self.__value[at : at + size])

    def followed_by(self, mark: bytes, other: Secret) -> Secret:
        """Return it with another secret behind it, and with bytes between them that are not secret."""
        return Secret(self.__value + mark + other.__value)

    def find(self, mark: bytes, start: int) -> int:
        """Return where bytes stand in it, from a position on; -1 where they do not."""
        return self.__value.find(mark, start)

    def __len__(self) -> int:
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<secret of {len(self)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
