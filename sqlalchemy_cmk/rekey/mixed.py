"""Values of a column that accepts plaintext: which of them are sealed."""

from __future__ import annotations

from typing import Any

from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.sealing import HEADER_BYTES, is_header

PLAIN = b""


def header_or_plain(stored: Any) -> Any:
    """Return a value's header if it may be sealed; one name for all that cannot be."""
    begin = bytes(stored[:HEADER_BYTES]) if isinstance(stored, bytes | memoryview) else PLAIN
    return begin if is_header(begin) else PLAIN


def is_plain(keyring: Keyring, stored: Any) -> bool:
    """Tell whether a value names no DEK that exists or did, so that it is what the column held before."""
    header = header_or_plain(stored)
    return header == PLAIN or keyring.dek(header[1:]) is None
