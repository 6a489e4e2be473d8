"""Seals and opens values under one DEK: AES-256-GCM and AES-256-SIV, singly and in batches.

AES-GCM is NIST SP 800-38D, AES-SIV RFC 5297; both come from ``cryptography``. How a sealed value is laid out
is in ``format.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from os import urandom
from struct import iter_unpack
from typing import Any, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from sqlalchemy_cmk.format import (
    HEADER_BYTES,
    NONCE_BYTES,
    Context,
    NotAuthentic,
    Suite,
    associated_data,
)
from sqlalchemy_cmk.runtime.secret import Secret

_BODY = HEADER_BYTES + NONCE_BYTES
_NONCE, _GCM_BODY, _SIV_BODY = slice(HEADER_BYTES, _BODY), slice(_BODY, None), slice(HEADER_BYTES, None)
_nonce_part, _gcm_body, _siv_body = itemgetter(_NONCE), itemgetter(_GCM_BODY), itemgetter(_SIV_BODY)

# What opens a value, given its parts, and the associated data without a row identity.
Opener = tuple[Callable[..., bytes], bytes]


def nonces(count: int) -> Iterator[bytes]:
    """Draw nonces for a batch of values from the operating system.

    Each is for one value, sealed at once: a nonce that is kept may cross a fork. One system call for a whole
    batch saves a sixth of the work.
    """
    return map(itemgetter(0), iter_unpack(f"{NONCE_BYTES}s", urandom(NONCE_BYTES * count)))


class ColumnCipher(ABC):
    """Seals and opens the values of one column under one DEK. Made by :func:`cipher_for`.

    Attributes:
        header: the nine bytes that name the suite and the DEK.
        aad: the associated data, without a row identity.
        opener: what opens a value, for :func:`open_each`.
    """

    __slots__ = ("_aead", "aad", "header", "opener")

    suite: ClassVar[Suite]
    algorithm: ClassVar[type[AESGCM] | type[AESSIV]]

    def __init__(self, key: Secret, header: bytes, context: Context) -> None:
        self._aead: Any = self.algorithm(key.reveal())
        self.header = header
        self.aad = associated_data(header, context)
        self.opener: Opener = self._aead.decrypt, self.aad

    def seal(self, plaintext: bytes, identity: bytes = b"") -> bytes:
        """Return one sealed value."""
        return self.seal_with(plaintext, next(nonces(1)), identity)

    @abstractmethod
    def seal_with(self, plaintext: bytes, nonce: bytes, identity: bytes = b"") -> bytes:
        """Return one value sealed with a nonce from :func:`nonces`, which no other value may be given.

        AES-SIV has no nonce, and ignores it.
        """

    @abstractmethod
    def seal_all(self, plaintexts: Sequence[bytes], identities: Sequence[bytes] | None = None) -> list[bytes]:
        """Return many sealed values.

        Args:
            plaintexts: what to seal.
            identities: the row identity of each; ``None`` if they are not bound to rows.

        Raises:
            ValueError: there are more or fewer identities than plaintexts.
        """

    def open(self, sealed: bytes, identity: bytes = b"") -> bytes:
        """Return the plaintext of one value.

        Raises:
            NotAuthentic: it does not begin with this cipher's header, or does not open under its key, context
                and identity.
        """
        if sealed.startswith(self.header):
            try:
                return next(self.open_all((sealed,), (identity,)))
            except (InvalidTag, ValueError):
                pass
        raise NotAuthentic("it does not open under its key and context")

    def open_all(self, sealed: Sequence[bytes], identities: Sequence[bytes] | None = None) -> Iterator[bytes]:
        """Open many values, each of which is known to begin with this cipher's header.

        The caller checks the headers: the associated data holds this cipher's, not the value's.

        Args:
            sealed: the values.
            identities: the row identity of each; ``None`` if they are not bound to rows.

        Raises:
            InvalidTag: while iterating, for the first value that does not open.
            ValueError: likewise, for one that is too short; or at once, where there are more or fewer
                identities than values.
        """
        return open_all(self.opener, sealed, identities)

    def _bound(self, count: int, identities: Sequence[bytes] | None) -> Iterator[bytes]:
        return _bound(self.aad, count, identities)


def _bound(aad: bytes, count: int, identities: Sequence[bytes] | None) -> Iterator[bytes]:
    if identities is None:
        return repeat(aad, count)
    _require_one_each(count, identities)
    return map(aad.__add__, identities)


def _require_one_each(count: int, identities: Sequence[bytes]) -> None:
    # map() would stop at the shorter of the two and leave values out.
    if len(identities) != count:
        raise ValueError(f"{len(identities)} row identities for {count} values")


class _Gcm(ColumnCipher):
    __slots__ = ()

    suite = Suite.GCM
    algorithm = AESGCM

    def seal_with(self, plaintext: bytes, nonce: bytes, identity: bytes = b"") -> bytes:
        sealed: bytes = self._aead.encrypt(nonce, plaintext, self.aad + identity)
        return self.header + nonce + sealed

    def seal_all(self, plaintexts: Sequence[bytes], identities: Sequence[bytes] | None = None) -> list[bytes]:
        header, drawn = self.header, list(nonces(len(plaintexts)))
        ciphertexts = map(self._aead.encrypt, drawn, plaintexts, self._bound(len(plaintexts), identities))
        return [header + nonce + body for nonce, body in zip(drawn, ciphertexts, strict=True)]


class _Siv(ColumnCipher):
    __slots__ = ()

    suite = Suite.SIV
    algorithm = AESSIV

    def seal_with(self, plaintext: bytes, nonce: bytes, identity: bytes = b"") -> bytes:
        sealed: bytes = self._aead.encrypt(plaintext, [self.aad + identity])
        return self.header + sealed

    def seal_all(self, plaintexts: Sequence[bytes], identities: Sequence[bytes] | None = None) -> list[bytes]:
        header, aads = self.header, self._bound(len(plaintexts), identities)
        return [header + body for body in map(self._aead.encrypt, plaintexts, ([aad] for aad in aads))]


_CIPHERS = {int(one.suite): one for one in (_Gcm, _Siv)}


def cipher_for(key: Secret, header: bytes, context: Context) -> ColumnCipher:
    """Return the cipher of a column under a DEK.

    Args:
        key: the column's key, from :func:`column_key`.
        header: the nine bytes that name the suite and the DEK, from :func:`header_of`.
        context: what the column's values are bound to.
    """
    return _CIPHERS[header[0]](key, header, context)


def opener_for(key: Secret, header: bytes, context: Context, *, hot: bool) -> Opener:
    """Return :attr:`ColumnCipher.opener` without the rest of the cipher.

    Args:
        key: as for :func:`cipher_for`, as are ``header`` and ``context``.
        hot: whether the cipher is kept, in more than 2 KiB; otherwise it is made again for each value, which
            takes less time than to fetch so much memory for a few values.
    """
    algorithm: Any = _CIPHERS[header[0]].algorithm
    decrypt = algorithm(key.reveal()).decrypt if hot else _MadeAnew(algorithm, key)
    return decrypt, associated_data(header, context)


class _MadeAnew:
    """Decrypts values, each with a cipher of its own, and keeps the key alone."""

    __slots__ = ("_algorithm", "_key")

    def __init__(self, algorithm: Any, key: Secret) -> None:
        self._algorithm = algorithm
        self._key = key

    def __call__(self, *parts: Any) -> bytes:
        plaintext: bytes = self._algorithm(self._key.reveal()).decrypt(*parts)
        return plaintext


def open_all(
    opener: Opener, sealed: Sequence[bytes], identities: Sequence[bytes] | None = None
) -> Iterator[bytes]:
    """Open values under one DEK; as :meth:`ColumnCipher.open_all`, given its :attr:`~ColumnCipher.opener`."""
    decrypt, aad = opener
    aads = _bound(aad, len(sealed), identities)
    if sealed and sealed[0][0] == Suite.SIV:
        return map(decrypt, map(_siv_body, sealed), ([one] for one in aads))
    return map(decrypt, map(_nonce_part, sealed), map(_gcm_body, sealed), aads)


def open_each(
    openers: Sequence[Opener], sealed: Sequence[bytes], identities: Sequence[bytes] | None = None
) -> list[bytes]:
    """Open values of one suite and column under several DEKs.

    The caller has checked that each value begins with the header of its opener's cipher.

    Args:
        openers: :attr:`ColumnCipher.opener` for each value.
        sealed: the values.
        identities: the row identity of each; ``None`` if they are not bound to rows.

    Raises:
        InvalidTag: a value does not open.
        ValueError: a value is too short, or there are more or fewer openers or identities than values.
    """
    if len(openers) != len(sealed):
        raise ValueError(f"{len(openers)} openers for {len(sealed)} values")
    if identities is not None:
        _require_one_each(len(sealed), identities)
        openers = [(decrypt, aad + one) for (decrypt, aad), one in zip(openers, identities, strict=True)]
    pairs = zip(sealed, openers, strict=True)
    if sealed and sealed[0][0] == Suite.SIV:
        return [decrypt(one[_SIV_BODY], [aad]) for one, (decrypt, aad) in pairs]
    return [decrypt(one[_NONCE], one[_GCM_BODY], aad) for one, (decrypt, aad) in pairs]
