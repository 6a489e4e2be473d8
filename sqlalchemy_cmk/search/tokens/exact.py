"""Tokens that are equal where values are: :class:`ExactTokens`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden
from sqlalchemy_cmk.search.tokens.mac import MAC_BYTES, Mac

DEFAULT_BITS = 128
MAX_BITS = 8 * MAC_BYTES


class ExactTokens:
    """Makes one token of a value: the first bits of its HMAC-SHA-256.

    Any two of R different values have the same token with a probability of about R^2 / 2^(bits + 1): with
    128 bits never, with few bits on purpose.

    Args:
        key: of the index, 32 bytes.
        bits: how many bits are kept, 1 to 256. The last byte's spare bits are zero.

    Raises:
        ConfigurationError: ``bits`` is out of its bounds.
        ValueError: the key does not have 32 bytes.
    """

    kind: ClassVar[str] = "exact"

    __slots__ = ("_last_byte", "_mac", "_size", "bits")

    def __init__(self, key: Secret | bytes, bits: int = DEFAULT_BITS) -> None:
        key = hidden(key)
        if not 1 <= bits <= MAX_BITS:
            raise ConfigurationError(f"an exact index has 1 to {MAX_BITS} bits, not {bits}")
        self.bits = bits
        self._mac = Mac(key)
        self._size = -(-bits // 8)
        self._last_byte = 0xFF << (-bits % 8) & 0xFF

    def token(self, plaintext: bytes) -> bytes:
        """Return the token of a value's canonical plaintext, normalized before."""
        cut = self._mac(plaintext)[: self._size]
        if self._last_byte == 0xFF:
            return cut
        return cut[:-1] + bytes((cut[-1] & self._last_byte,))

    def tokens(self, plaintexts: Iterable[bytes]) -> list[bytes]:
        """Return the tokens of many values."""
        return list(map(self.token, plaintexts))
