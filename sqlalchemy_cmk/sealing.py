"""The sealed value, version 1: how it is laid out, sealed and opened. Knows bytes only.

::

    byte 0      suite: 0x01 AES-256-GCM (random nonce) or 0x02 AES-256-SIV (deterministic)
    bytes 1-8   DEK id, 8 random bytes
    then        0x01: nonce (12) | ciphertext | tag (16)      37 bytes of overhead
                0x02: siv (16) | ciphertext                   25 bytes of overhead

The associated data is ``"cmk1" | bytes 0-8 | context``. Each column has a key of its own, derived from
the DEK by HKDF-SHA256 (RFC 5869) with the suite byte and the context as ``info``, so that a value moved
to another column does not open. The first nine bytes are called the *header*. AES-GCM is NIST SP
800-38D, AES-SIV RFC 5297; both come from ``cryptography``. ``docs/format.md`` states all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from operator import itemgetter
from os import urandom
from struct import iter_unpack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DEK_BYTES = 32
DEK_ID_BYTES = 8
HEADER_BYTES = 1 + DEK_ID_BYTES
NONCE_BYTES = 12
TAG_BYTES = 16

_BODY = HEADER_BYTES + NONCE_BYTES
_MAGIC = b"cmk1"

Seal = Callable[[bytes], bytes]
SealWith = Callable[[bytes, bytes], bytes]
Open = Callable[[bytes], bytes]


class Suite(IntEnum):
    """The algorithms of a sealed value; the format under a number never changes."""

    GCM = 1
    SIV = 2

    @property
    def key_bytes(self) -> int:
        """Length of a column key in bytes: AES-256-SIV takes two AES-256 keys (RFC 5297, section 2.2)."""
        return 32 if self is Suite.GCM else 64

    @property
    def overhead(self) -> int:
        """How many bytes longer a sealed value is than its plaintext."""
        return HEADER_BYTES + TAG_BYTES + (NONCE_BYTES if self is Suite.GCM else 0)


SUITES = frozenset(int(suite) for suite in Suite)


class NotSealed(ValueError):
    """The bytes are not a sealed value: too short, or an unknown suite."""


class NotAuthentic(ValueError):
    """The bytes look sealed but do not open under this key and context."""


def header_of(suite: Suite, dek_id: bytes) -> bytes:
    """Return the nine bytes that begin every value sealed under this DEK."""
    return bytes((suite,)) + dek_id


def is_header(begin: bytes) -> bool:
    """Tell whether the beginning of a stored value is that of a sealed one, as far as nine bytes tell."""
    return len(begin) == HEADER_BYTES and begin[0] in SUITES


def parse_header(sealed: object) -> tuple[Suite, bytes]:
    """Return the suite and the DEK id (8 bytes) of a stored value.

    Raises:
        NotSealed: the value is not bytes, is shorter than its suite's overhead, or names no suite.
    """
    if not isinstance(sealed, bytes) or not sealed or sealed[0] not in SUITES:
        raise NotSealed("it does not begin with a known suite")
    suite = Suite(sealed[0])
    if len(sealed) < suite.overhead:
        raise NotSealed(f"it is shorter than the {suite.overhead} bytes that sealing adds")
    return suite, sealed[1:HEADER_BYTES]


def associated_data(header: bytes, context: str) -> bytes:
    """Return what a sealed value is bound to, besides its key."""
    return _MAGIC + header + context.encode()


def column_key(dek: bytes, suite: Suite, context: str) -> bytes:
    """Derive a column's key from a DEK of 32 bytes: HKDF-SHA256, no salt (RFC 5869)."""
    info = bytes((suite,)) + context.encode()
    return HKDF(SHA256(), suite.key_bytes, salt=None, info=info).derive(dek)


def nonces(count: int) -> Iterator[bytes]:
    """Draw nonces from the operating system, each for one value that is sealed at once: none may be kept.

    For a batch of values, where a call of the system for each is a sixth of the work.
    """
    return map(itemgetter(0), iter_unpack(f"{NONCE_BYTES}s", urandom(NONCE_BYTES * count)))


class ColumnCipher:
    """Seals and opens the values of one column under one DEK.

    ``seal(plaintext)`` draws a nonce; ``seal_with(plaintext, nonce)`` takes one of :func:`nonces`, which no
    other value may be given. AES-SIV has none, and leaves it.

    Args:
        key: the column's key, from :func:`column_key`.
        header: the nine bytes that name the suite and the DEK, from :func:`header_of`.
        context: what the values are bound to, ``table.column`` or the pinned name.
    """

    __slots__ = ("aead", "header", "open", "seal", "seal_with")

    def __init__(self, key: bytes, header: bytes, context: str) -> None:
        self.header = header
        aad = associated_data(header, context)
        self.seal: Seal
        self.seal_with: SealWith
        self.open: Open
        if header[0] == Suite.GCM:
            gcm = AESGCM(key)
            self.aead: tuple[Callable[..., bytes], object] = (gcm.decrypt, aad)
            self.seal, self.open = _gcm_seal(gcm, header, aad), _gcm_open(gcm, aad)
            self.seal_with = _gcm_seal_with(gcm, header, aad)
        else:
            siv = AESSIV(key)
            self.aead = (siv.decrypt, [aad])
            self.seal = seal = _siv_seal(siv, header, aad)
            self.seal_with, self.open = (lambda plaintext, _: seal(plaintext)), _siv_open(siv, aad)


def _gcm_seal(gcm: AESGCM, header: bytes, aad: bytes) -> Seal:
    encrypt, from_system, length = gcm.encrypt, urandom, NONCE_BYTES

    def seal(plaintext: bytes) -> bytes:
        nonce = from_system(length)
        return header + nonce + encrypt(nonce, plaintext, aad)

    return seal


def _gcm_seal_with(gcm: AESGCM, header: bytes, aad: bytes) -> SealWith:
    encrypt = gcm.encrypt

    def seal_with(plaintext: bytes, nonce: bytes) -> bytes:
        return header + nonce + encrypt(nonce, plaintext, aad)

    return seal_with


def _gcm_open(gcm: AESGCM, aad: bytes) -> Open:
    decrypt = gcm.decrypt

    def open_(sealed: bytes) -> bytes:
        try:
            return decrypt(sealed[HEADER_BYTES:_BODY], sealed[_BODY:], aad)
        except (InvalidTag, ValueError):
            pass
        raise NotAuthentic("it does not open under its key and context")

    return open_


def _siv_seal(siv: AESSIV, header: bytes, aad: bytes) -> Seal:
    def seal(plaintext: bytes) -> bytes:
        return header + siv.encrypt(plaintext, [aad])

    return seal


def _siv_open(siv: AESSIV, aad: bytes) -> Open:
    def open_(sealed: bytes) -> bytes:
        try:
            return siv.decrypt(sealed[HEADER_BYTES:], [aad])
        except (InvalidTag, ValueError):
            pass
        raise NotAuthentic("it does not open under its key and context")

    return open_
