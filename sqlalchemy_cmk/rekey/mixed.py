"""Values of a column that accepts plaintext: which are sealed, and what reads the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.sealing import HEADER_BYTES, Suite
from sqlalchemy_cmk.types import EncryptedType

PLAIN = b""
_SUITES = frozenset(int(suite) for suite in Suite)


def header_or_plain(stored: Any) -> Any:
    """Return a value's header if it may be sealed; one name for all that cannot be."""
    if isinstance(stored, bytes | memoryview) and len(stored) >= HEADER_BYTES and stored[0] in _SUITES:
        return bytes(stored[:HEADER_BYTES])
    return PLAIN


def is_plain(keyring: Keyring, stored: Any) -> bool:
    """Tell whether a value names no DEK that exists or did, so that it is what the column held before."""
    header = header_or_plain(stored)
    return header == PLAIN or keyring.dek(header[1:]) is None


def plain_reader(type_: EncryptedType) -> Callable[[Any], Any]:
    """Return what turns what a column held before into a value of its type.

    It raises :class:`TamperedError`, which shows no value, where that is none.
    """
    from_plain = type_.codec.from_plain

    def read(stored: Any) -> Any:
        kind = ""
        try:
            return from_plain(bytes(stored) if isinstance(stored, memoryview) else stored)  # type: ignore[misc]
        except Exception as error:
            kind = type(error).__name__
        raise TamperedError(
            f"the stored value names no DEK, and is no plaintext of the declared type either ({kind})"
        )

    return read
