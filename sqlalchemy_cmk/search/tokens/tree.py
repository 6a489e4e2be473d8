"""Pseudorandom numbers for the nodes on a number's way from the root of a binary tree to its leaf.

A number of so many bits is a leaf of a binary tree. A node is numbered as in a heap: the root is 1, the
children of node v are 2v and 2v + 1. The node above a number's last s bits is ``(2^bits + number) >> s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.search.tokens.keys import hidden

# The largest that fits a signed integer of 64 bits.
MAX_BITS = 63

Words = tuple[int, ...]


class Tree:
    """Gives each inner node a 64-bit number: the last 8 bytes of AES-256 (FIPS 197) of its number.

    AES is used as a pseudorandom function of one block. A node's number in 16 bytes is the block, so that
    different nodes have different blocks, and the blocks of many nodes are encrypted by one call: that is
    what the mode ECB does. No plaintext of an application is ever encrypted with it.

    Args:
        key: 32 bytes.
        bits: of a number, 1 to 63.
        shifts: where the nodes of a way are: how many bits of the number are below each.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_cipher", "_last", "_nodes", "_root", "_shifts")

    def __init__(self, key: Secret | bytes, bits: int, shifts: Sequence[int]) -> None:
        key = hidden(key)
        self._cipher = Cipher(AES256(key.reveal()), ECB())  # noqa: S305
        self._root = 1 << bits
        self._last = self._root - 1
        self._shifts = tuple(shifts)
        self._nodes = Struct(">" + "8xQ" * len(self._shifts))

    def words(self, number: int) -> Words:
        """Return the numbers of the nodes on a number's way, from the root on.

        Raises:
            InvalidValue: the number has more bits than the tree.
        """
        # Each call has its own: threads may not share one.
        return self._nodes.unpack(self._cipher.encryptor().update(self._blocks(number)))

    def words_of(self, numbers: Sequence[int]) -> list[Words]:
        """Return the same for many numbers, with one encryption.

        Raises:
            InvalidValue: a number has more bits than the tree.
        """
        blocks = b"".join(map(self._blocks, numbers))
        return list(self._nodes.iter_unpack(self._cipher.encryptor().update(blocks)))

    def _blocks(self, number: int) -> bytes:
        if not 0 <= number <= self._last:
            raise InvalidValue(f"the number is not from 0 to {self._last}")
        leaf = self._root | number
        return self._nodes.pack(*[leaf >> shift for shift in self._shifts])
