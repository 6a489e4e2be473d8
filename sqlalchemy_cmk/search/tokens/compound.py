"""Tokens that are equal where several values are: :class:`CompoundTokens`."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.exact import ExactTokens


class CompoundTokens:
    """Makes one token of several values: that of their plaintexts, each behind its length in four bytes.

    Args:
        key: of the index, 32 bytes.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_exact",)

    def __init__(self, key: Secret | bytes) -> None:
        self._exact = ExactTokens(key)

    def token(self, plaintexts: Sequence[bytes]) -> bytes:
        """Return the token of the columns' canonical plaintexts, in the order of the columns."""
        return self._exact.token(b"".join(pack("!I", len(one)) + one for one in plaintexts))
