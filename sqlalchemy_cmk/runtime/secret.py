"""Secrets in memory, shown by no ``repr``, log line or crash report."""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

__all__ = ["Secret"]


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
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes: give them straight to the call that needs them, and keep them nowhere."""
        return self.__value

    def __len__(self) -> int:
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<secret of {len(self)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
