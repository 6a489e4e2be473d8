"""The certificate key: the Ed25519 key (RFC 8032) that signs certificates, and is never in the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from os import environ
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers._files import create_private, read_private
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.secret import Secret

CertificateKeySource = str | Callable[[], bytes | str]


class CertificateKey:
    """Signs certificates with a key that is read again for each, and not kept.

    Args:
        source: ``"env:NAME"``, ``"file:PATH"``, or a function that returns the key: PEM, PKCS #8.

    Raises:
        ConfigurationError: ``source`` is none of these.
    """

    def __init__(self, source: CertificateKeySource) -> None:
        kind, _, name = source.partition(":") if isinstance(source, str) else ("", "", "")
        if not callable(source) and (kind not in ("env", "file") or not name):
            # The text is not quoted: somebody may have given the key itself.
            raise ConfigurationError(
                'certificate_key says where the certificate key is kept: give "env:NAME", "file:PATH", or a '
                "function"
            )
        self._call = source if callable(source) else None
        self._variable = name if kind == "env" else ""
        self._path = Path(name) if kind == "file" else None

    def __repr__(self) -> str:
        return f"<CertificateKey in {self._origin}>"

    def public(self) -> Ed25519PublicKey:
        """Return the public key.

        Raises:
            KeyUnavailable: the key cannot be read now.
            ConfigurationError: what is kept there is no Ed25519 key.
        """
        return self._read().public_key()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes; raises as :meth:`public`."""
        return self._read().sign(message)

    @property
    def _origin(self) -> str:
        if self._path is not None:
            return f"the certificate key file {self._path}"
        return f"${self._variable}" if self._variable else "certificate_key="

    def _read(self) -> Ed25519PrivateKey:
        # A function may ask a service, and a file may lie on a volume that hangs.
        return off_the_loop(self._loaded, place="certificate key")

    def _loaded(self) -> Ed25519PrivateKey:
        pem, key = self._pem(), object()
        # What these say is left out: it is about a secret.
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = load_pem_private_key(pem.reveal(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(
                f"{self._origin} holds no certificate key: give an Ed25519 key in PEM (PKCS #8, without a "
                "password), as cmk certificate make-key FILE makes it"
            )
        return key

    def _pem(self) -> Secret:
        if self._path is not None:
            found = read_private(
                self._path, "the certificate key file", "make another with cmk certificate make-key"
            )
            if found is None:
                raise KeyUnavailable(
                    f"{self._origin} does not exist: mount it, or make one with cmk certificate make-key "
                    f"{self._path}"
                )
            return found
        if self._call is not None:
            return _secret(self._call)
        if self._variable not in environ:
            raise KeyUnavailable(
                f"the environment variable {self._variable} is not set: it is the certificate key"
            )
        return _secret(lambda: environ[self._variable])


def _secret(source: Callable[[], bytes | str]) -> Secret:
    # The source is called in the argument, so that what it returns is in no local variable.
    return Secret(_as_bytes(source()))


def _as_bytes(given: bytes | str) -> bytes:
    return given.encode() if isinstance(given, str) else bytes(given)


def make_certificate_key(path: str | Path) -> Ed25519PublicKey:
    """Make a certificate key in a new file that its owner alone can read, and return its public key.

    Args:
        path: the file, which must not be there yet.

    Raises:
        ConfigurationError: it is there, or others may replace files in its folder.
        KeyUnavailable: the system refuses to write it.
    """
    key = Ed25519PrivateKey.generate()
    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    create_private(Path(path), Secret(key.private_bytes(*form)))
    return key.public_key()
