"""HMAC-SHA-256 under one key, begun once: :class:`Mac`."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden

MAC_BYTES = 32


class Mac:
    """Computes HMAC-SHA-256 (RFC 2104) of messages under one key.

    A copy of the begun computation takes half of the time of a new one. The original is never updated, so
    threads may share it.

    Args:
        key: 32 bytes.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_begun",)

    def __init__(self, key: Secret | bytes) -> None:
        key = hidden(key)
        self._begun = HMAC(key.reveal(), SHA256())

    def __call__(self, message: bytes) -> bytes:
        """Return the 32 bytes of a message."""
        computation = self._begun.copy()
        computation.update(message)
        return computation.finalize()


def encoded(text: str) -> bytes:
    """Return a text as UTF-8.

    Raises:
        InvalidValue: it has a surrogate that stands alone; the error does not show it.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass  # it holds the text
    raise InvalidValue("the text cannot be encoded as UTF-8")
