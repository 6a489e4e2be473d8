"""Tokens in the order of their values: :class:`OrderedTokens`. They give away nearly everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden
from sqlalchemy_cmk.search.tokens.tree import MAX_BITS, Tree, Words

# A byte holds the node's number and one more.
_NODE_NUMBERS = 255


class OrderedTokens:
    """Makes tokens that databases sort as the numbers are sorted, one byte for each bit.

    The encryption is that of Chenette, Lewi, Weis and Wu ("Practical Order-Revealing Encryption with Limited
    Leakage", FSE 2016), with sums that do not wrap around, so that bytes compare as they are. Anyone with the
    tokens knows the order of all rows, and for each two rows the first bit in which they differ. A byte of
    0 or 255 shows its bit: one in 255 does.

    Args:
        key: of the index, 32 bytes.
        bits: of a number, 1 to 63.

    Raises:
        ConfigurationError: ``bits`` is out of its bounds.
        ValueError: the key does not have 32 bytes.
    """

    kind: ClassVar[str] = "ordered"

    __slots__ = ("_shifts", "_tree", "bits")

    def __init__(self, key: Secret | bytes, bits: int) -> None:
        key = hidden(key)
        if not 1 <= bits <= MAX_BITS:
            raise ConfigurationError(
                f"an ordered index has 1 to {MAX_BITS} bits, not {bits}: take a larger step"
            )
        self.bits = bits
        self._shifts = range(bits - 1, -1, -1)
        self._tree = Tree(key, bits, [shift + 1 for shift in self._shifts])

    def token(self, number: int) -> bytes:
        """Return the token of a number, ``bits`` bytes.

        Raises:
            InvalidValue: the number has more bits, or is negative.
        """
        return self._of(number, self._tree.words(number))

    def tokens(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the tokens of many numbers; raises as :meth:`token` does."""
        return list(map(self._of, numbers, self._tree.words_of(numbers)))

    def _of(self, number: int, words: Words) -> bytes:
        return bytes(
            [
                word % _NODE_NUMBERS + (number >> shift & 1)
                for word, shift in zip(words, self._shifts, strict=True)
            ]
        )
