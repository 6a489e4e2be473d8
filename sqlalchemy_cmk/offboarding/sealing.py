"""Files that only the holder of an RSA key can open: a fresh AES-256 key, wrapped by the public key.

The file is :data:`MAGIC`, the length of the wrapped key (2 bytes), the key wrapped by RSA-OAEP with SHA-256
(RFC 8017, section 7.1, without a label, so that a vault can unwrap it), and chunks of 64 KiB, each sealed by
AES-256-GCM (NIST SP 800-38D). A chunk's nonce is its number (11 bytes) and a byte that is 1 in the last chunk
and 0 in all others, which is the construction STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015): no chunk
can be left out, exchanged or cut off. All that stands before the chunks is their associated data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from os import urandom
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.offboarding.files import NewFile
from sqlalchemy_cmk.providers._files import read_private
from sqlalchemy_cmk.runtime.kinds import Kind, takes
from sqlalchemy_cmk.runtime.secret import Secret

MAGIC = b"sqlalchemy_cmk sealed export 1\n"
CHUNK = 64 * 1024
KEY_BYTES = 32
LEAST_BITS = 2048
PATH = Kind((str, Path), "the path of a file or folder")

_TAG = 16
_COUNTER = 11


def recipient(pem: bytes) -> RSAPublicKey:
    """Return the public key for which an export is sealed.

    Raises:
        ConfigurationError: it is no RSA public key, or too small.
    """
    key: object = None
    with suppress(ValueError, UnsupportedAlgorithm):
        key = load_pem_public_key(pem)
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_BITS:
        raise ConfigurationError(
            f"an export is sealed for an RSA public key of {LEAST_BITS} bits or more, in PEM: make one with "
            "openssl pkey -in private.pem -pubout, or download a vault's with az keyvault key download"
        )
    return key


class SealedWriter:
    """Seals what is written in chunks.

    Args:
        write: takes the bytes of the file.
        key: the public key for which it is sealed.
    """

    def __init__(self, write: Callable[[bytes], object], key: RSAPublicKey) -> None:
        secret = Secret(urandom(KEY_BYTES))
        wrapped = key.encrypt(secret.reveal(), _oaep())
        self._write = write
        self._head = MAGIC + len(wrapped).to_bytes(2, "big") + wrapped
        self._cipher = AESGCM(secret.reveal())
        self._number = 0
        self._waiting = bytearray()
        write(self._head)

    def write(self, data: bytes) -> None:
        """Seal bytes; at most a chunk of them waits for more."""
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]

    def end(self) -> None:
        """Seal the last chunk, without which the file does not open."""
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._head))
        self._number += 1


@takes(source=PATH, target=PATH, key=PATH)
def open_export(source: str | Path, target: str | Path, key: str | Path) -> None:
    """Open a sealed export; neither a keyring nor a database is needed.

    Args:
        source: the sealed file.
        target: the new file to write, which its owner alone can read.
        key: the file with the RSA private key in PEM (PKCS #8, without a password), which nobody else may
            read.

    Raises:
        ConfigurationError: ``source`` is no sealed export or ``key`` no such key, or ``target`` is there.
        TamperedError: it was sealed for another key, or was altered or cut off. Nothing is written then.
    """
    private = _private(Path(key))
    with open(source, "rb") as file, NewFile(Path(target)) as made:
        for chunk in _opened(file, private):
            made.write(chunk)
        made.end()


def _opened(file: BinaryIO, key: RSAPrivateKey) -> Iterator[bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        raise ConfigurationError("this is no sealed export: give a file whose name ends in .sealed")
    size = file.read(2)
    wrapped = file.read(int.from_bytes(size, "big"))
    head = MAGIC + size + wrapped
    cipher: AESGCM | None = None
    with suppress(ValueError):  # of another key, or no wrapped key at all
        cipher = AESGCM(key.decrypt(wrapped, _oaep()))
    if cipher is None:
        raise TamperedError("the export was sealed for another key, or its beginning was altered")
    number, chunk = 0, file.read(CHUNK + _TAG)
    while True:
        following = file.read(CHUNK + _TAG)
        opened: bytes | None = None
        with suppress(InvalidTag, ValueError):
            opened = cipher.decrypt(_nonce(number, last=not following), chunk, head)
        if opened is None:
            raise TamperedError(
                f"the export was altered, or its end is missing: chunk {number} does not open"
            )
        yield opened
        if not following:
            return
        number, chunk = number + 1, following


def _private(path: Path) -> RSAPrivateKey:
    pem = read_private(path, "the private key file", "make another key")
    key: object = None
    if pem is not None:
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = load_pem_private_key(pem.reveal(), None)
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(
            f"{path} holds no RSA private key in PEM without a password: openssl pkey -in FILE -out FILE2 "
            "takes the password off"
        )
    return key


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER, "big") + bytes((last,))


def _oaep() -> OAEP:
    return OAEP(MGF1(SHA256()), SHA256(), None)
