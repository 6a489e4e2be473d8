"""The sealed value, version 1: how it is laid out, sealed and opened. Knows bytes only.

::

    byte 0      suite: 0x01 AES-256-GCM (random nonce) or 0x02 AES-256-SIV (deterministic)
    bytes 1-8   DEK id, 8 random bytes
    then        0x01: nonce (12) | ciphertext | tag (16)      37 bytes of overhead
                0x02: siv (16) | ciphertext                   25 bytes of overhead

    associated data   "cmk1" | bytes 0-8 | context | row identity (empty if not row-bound)
    context           0x00 | lp(schema) | lp(table) | lp(column), or 0x01 | lp(pinned name)
    row identity      the number of columns (1), then lp(canonical plaintext) of each
    lp                2-byte big-endian length, then the bytes

Each part says where it ends, so no two contexts or row identities give the same associated data.

Each column has a key of its own, derived from the DEK by HKDF-SHA256 (RFC 5869) with the suite byte and the
context as ``info``. The first nine bytes are called the *header*. AES-GCM is NIST SP 800-38D, AES-SIV
RFC 5297; both come from ``cryptography``. ``docs/format.md`` states all of it, with an opener.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from operator import itemgetter
from struct import pack

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sqlalchemy_cmk.runtime.secret import Secret

DEK_BYTES = 32
DEK_ID_BYTES = 8
HEADER_BYTES = 1 + DEK_ID_BYTES
NONCE_BYTES = 12
TAG_BYTES = 16

# A length has two bytes, a number of columns one.
MAX_NAME_BYTES = 0xFFFF
MAX_IDENTITY_COLUMNS = 0xFF

_MAGIC = b"cmk1"
_BODY = HEADER_BYTES + NONCE_BYTES

header_part = itemgetter(slice(HEADER_BYTES))


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
_FIRST_BYTES = frozenset(bytes((suite,)) for suite in SUITES)


class NotSealed(ValueError):
    """The bytes are not a sealed value: too short, or an unknown suite."""


class NotAuthentic(ValueError):
    """The bytes look sealed but do not open under this key, context and row identity."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a column's values are bound to: the column itself, or a name that the application pins.

    Made by :meth:`of_column` or :meth:`of_name`. Two contexts are equal only if their bytes are.

    Attributes:
        names: ``(schema, table, column)``, with ``""`` for no schema; or ``(name,)``.
        data: its bytes in the associated data and in the derivation of a column's key.
    """

    names: tuple[str, ...] = field(compare=False)
    data: bytes

    @classmethod
    def of_column(cls, schema: str | None, table: str, column: str) -> Context:
        """Return the context of a column.

        Raises:
            ValueError: a name is longer than 65,535 bytes as UTF-8, or is not valid Unicode.
        """
        names = (schema or "", table, column)
        return cls(names, b"\x00" + b"".join(prefixed(name.encode()) for name in names))

    @classmethod
    def of_name(cls, name: str) -> Context:
        """Return the context that a pinned name stands for.

        Raises:
            ValueError: the name is empty, longer than 65,535 bytes as UTF-8, or not valid Unicode.
        """
        if not name:
            raise ValueError("a context's name cannot be empty")
        return cls((name,), b"\x01" + prefixed(name.encode()))

    def __str__(self) -> str:
        return ".".join(filter(None, self.names))


def begins_sealed(stored: object) -> bool:
    """Return whether a stored value begins as a sealed one does, whole or not."""
    if isinstance(stored, str):
        return bool(stored) and ord(stored[0]) in SUITES
    return isinstance(stored, bytes | bytearray | memoryview) and bytes(stored[:1]) in _FIRST_BYTES


def prefixed(data: bytes) -> bytes:
    """Return bytes behind their length in two bytes.

    Raises:
        ValueError: there are more than 65,535.
    """
    if len(data) > MAX_NAME_BYTES:
        raise ValueError(f"it has {len(data)} bytes, and {MAX_NAME_BYTES} are the most")
    return pack("!H", len(data)) + data


def row_identity(plaintexts: Sequence[bytes]) -> bytes:
    """Return the bytes that bind a value to its row.

    Args:
        plaintexts: the canonical plaintext of each identity column, in their order; 1 to 255 of them, each
            of at most 65,535 bytes.

    Raises:
        ValueError: there are none, too many, or one is too long.
    """
    if not 1 <= len(plaintexts) <= MAX_IDENTITY_COLUMNS:
        raise ValueError(f"a row identity has 1 to {MAX_IDENTITY_COLUMNS} columns, not {len(plaintexts)}")
    return bytes((len(plaintexts),)) + b"".join(map(prefixed, plaintexts))


def header_of(suite: Suite, dek_id: bytes) -> bytes:
    """Return the nine bytes that begin every value sealed under a DEK.

    Raises:
        ValueError: the id does not have 8 bytes.
    """
    if len(dek_id) != DEK_ID_BYTES:
        raise ValueError(f"a DEK id has {DEK_ID_BYTES} bytes, not {len(dek_id)}")
    return bytes((suite,)) + dek_id


def is_header(begin: bytes) -> bool:
    """Return whether nine bytes may be the beginning of a sealed value."""
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


def associated_data(header: bytes, context: Context, identity: bytes = b"") -> bytes:
    """Return what a sealed value is bound to, besides its key.

    Args:
        header: the value's first nine bytes.
        context: what the column's values are bound to.
        identity: the row identity, from :func:`row_identity`; empty if values are not bound to rows.
    """
    return _MAGIC + header + context.data + identity


def column_info(suite: Suite, context: Context) -> bytes:
    """Return what a column's key is derived for."""
    return bytes((suite,)) + context.data


def column_key(dek: Secret, suite: Suite, context: Context) -> Secret:
    """Derive a column's key from a DEK; raises as :func:`derived_key` does."""
    return derived_key(dek, column_info(suite, context), suite.key_bytes)


def derived_key(dek: Secret, info: bytes, size: int) -> Secret:
    """Derive a key from a DEK: HKDF-SHA256, no salt (RFC 5869).

    Args:
        dek: the DEK.
        info: what the key is for, from :func:`column_info` or of a search index.
        size: its length in bytes.

    Raises:
        ValueError: the DEK does not have 32 bytes.
    """
    if len(dek) != DEK_BYTES:
        raise ValueError(f"a DEK has {DEK_BYTES} bytes, not {len(dek)}")
    return Secret(HKDF(SHA256(), size, salt=None, info=info).derive(dek.reveal()))
