"""The target key, which becomes the customer's key in the vault; here it is read from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers import _base64url
from sqlalchemy_cmk.providers._files import read_private
from sqlalchemy_cmk.runtime.secret import Secret

RSA_BITS = (2048, 3072, 4096)
OCT_BYTES = (16, 24, 32)
CURVES = {"secp256r1": "P-256", "secp256k1": "P-256K", "secp384r1": "P-384", "secp521r1": "P-521"}
"""Key Vault's curves (learn.microsoft.com/azure/key-vault/managed-hsm/about-keys-details)."""


@dataclass(frozen=True, slots=True)
class TargetKey:
    """A target key whose plaintext is in this process.

    Attributes:
        kty: its type in the vault: ``RSA-HSM``, ``EC-HSM`` or ``oct-HSM``.
        plaintext: the bytes that are wrapped: PKCS#8 in DER, or the bytes of a symmetric key.
        thumbprint: its public key's thumbprint; ``None`` for a symmetric key.
    """

    kty: str
    plaintext: Secret
    thumbprint: str | None

    @classmethod
    def read(cls, path: Path, symmetric: bool, passphrase: Callable[[], str]) -> TargetKey:
        """Read a key from a private file.

        Args:
            path: a private RSA or elliptic curve key in PEM or DER, or the raw bytes of a symmetric key.
            symmetric: whether the file holds the raw bytes of a symmetric key.
            passphrase: returns the passphrase; called only if the file is encrypted.

        Raises:
            ConfigurationError: the file does not exist, others have access to it, it holds no key of a kind
                that vaults import, or the passphrase is wrong.
            KeyUnavailable: the file cannot be read.
        """
        raw = read_private(path)
        if raw is None:
            raise ConfigurationError(f"there is no file {path}")
        return cls.of(raw if symmetric else _private_key(raw, path, passphrase), str(path))

    @classmethod
    def of(cls, key: object, origin: str) -> TargetKey:
        """Return the target key for a private key or the bytes of a symmetric one.

        Args:
            key: the key.
            origin: where it comes from, for messages.

        Raises:
            ConfigurationError: vaults do not import keys of this kind.
        """
        if isinstance(key, Secret) and len(key) in OCT_BYTES:
            return cls("oct-HSM", key, None)
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size in RSA_BITS:
            return cls("RSA-HSM", _pkcs8(key), thumbprint(key.public_key()))
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
            return cls("EC-HSM", _pkcs8(key), thumbprint(key.public_key()))
        raise ConfigurationError(
            f"{origin}: a vault imports RSA keys of 2048, 3072 and 4096 bits, keys on "
            f"{', '.join(CURVES.values())}, and, into a Managed HSM, symmetric keys of 16, 24 and 32 bytes"
        )


def thumbprint(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    """Return a public key's JWK thumbprint with SHA-256, in base64url (RFC 7638)."""
    numbers = public.public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        members = {"e": _encoded(numbers.e), "kty": "RSA", "n": _encoded(numbers.n)}
    else:
        size = (numbers.curve.key_size + 7) // 8
        members = {
            "crv": CURVES.get(numbers.curve.name, numbers.curve.name),
            "kty": "EC",
            "x": _encoded(numbers.x, size),
            "y": _encoded(numbers.y, size),
        }
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return _base64url.encode(hashlib.sha256(text.encode()).digest())


def _encoded(number: int, size: int | None = None) -> str:
    return _base64url.encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _private_key(raw: Secret, path: Path, passphrase: Callable[[], str]) -> object:
    load = load_pem_private_key if b"-----BEGIN" in raw.reveal() else load_der_private_key
    try:
        return load(raw.reveal(), None)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} holds no private key in PEM or DER") from None
    except TypeError:
        pass  # cryptography's answer to an encrypted key without a passphrase
    try:
        return load(raw.reveal(), passphrase().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} does not open: the passphrase is wrong, or it is damaged") from None
