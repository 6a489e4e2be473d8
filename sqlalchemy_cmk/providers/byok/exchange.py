"""The exchange key: the RSA key in the vault's HSM for which a target key is wrapped."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier, parse_identifier
from sqlalchemy_cmk.providers.byok.target import thumbprint

KTY = "RSA-HSM"
BITS = (2048, 3072, 4096)
OPERATIONS = ["import"]
MAKE_ONE = "make one with: az keyvault key create --kty RSA-HSM --ops import"
# The specification's OAEP is that of PKCS#11's CKM_RSA_AES_KEY_WRAP with SHA-1, where no collision matters.
OAEP_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
INNER_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """An exchange key that is known to fit.

    Attributes:
        kid: its identifier with its version, ``https://VAULT/keys/NAME/VERSION``.
        public: its public key.
    """

    kid: str
    public: rsa.RSAPublicKey

    @classmethod
    def of(
        cls, kid: str, public: object, kty: str | None = None, operations: Iterable[str] | None = None
    ) -> ExchangeKey:
        """Check what is known of a key, and return it.

        Args:
            kid: its identifier.
            public: its public key.
            kty: its key type, ``None`` where that is not known.
            operations: what it may be used for, ``None`` where that is not known.

        Raises:
            ConfigurationError: no blob for it could be imported; the message says why.
        """
        identifier(kid)
        if kty is not None and kty != KTY:
            raise ConfigurationError(f"{kid} is {kty}: an exchange key is {KTY}, in hardware; {MAKE_ONE}")
        if not isinstance(public, rsa.RSAPublicKey):
            raise ConfigurationError(f"{kid} is not an RSA key; {MAKE_ONE}")
        if public.key_size not in BITS:
            raise ConfigurationError(
                f"{kid} has {public.key_size} bits: an exchange key has 2048, 3072 or 4096; {MAKE_ONE}"
            )
        if operations is not None and list(operations) != OPERATIONS:
            allowed = ", ".join(operations) or "nothing"
            raise ConfigurationError(
                f"{kid} may be used for {allowed}: an exchange key is for 'import' alone; {MAKE_ONE}"
            )
        return cls(kid, public)

    @classmethod
    def read(cls, path: Path, kid: str | None = None) -> ExchangeKey:
        """Read a public key that was downloaded from the vault.

        Args:
            path: a JWK, a key bundle as ``az keyvault key show`` prints it, or a PEM file as
                ``az keyvault key download`` writes it. A PEM file tells neither key type nor operations.
            kid: the key's identifier, where the file does not tell it.

        Raises:
            ConfigurationError: the file holds no public key, another one, or one that does not fit.
            KeyUnavailable: it cannot be read.
        """
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
        if b"-----BEGIN" in raw:
            return cls.of(_one_kid(None, kid, path), _from_pem(raw, path))
        try:
            bundle = json.loads(raw)
            jwk = bundle.get("key", bundle)
            public = _from_jwk(jwk)
            operations = jwk.get("key_ops", jwk.get("keyOps"))
            return cls.of(_one_kid(jwk.get("kid"), kid, path), public, str(jwk["kty"]), operations)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigurationError(
                f"{path} is neither a JWK of an RSA key nor a public key in PEM"
            ) from None

    @property
    def thumbprint(self) -> str:
        """Its thumbprint, which tells whether this is the vault's key and not another's."""
        return thumbprint(self.public)

    @property
    def wrapped_bytes(self) -> int:
        """How many bytes of a blob's ciphertext this key has encrypted."""
        return self.public.key_size // 8

    def wrap(self, plaintext: bytes) -> bytes:
        """Return a target key's plaintext wrapped for this key, as ``CKM_RSA_AES_KEY_WRAP`` does.

        A fresh AES-256 key under RSA-OAEP with SHA-1, and the plaintext under it with AES key wrap with
        padding (RFC 5649), one after the other.
        """
        inner = token_bytes(INNER_BYTES)
        return self.public.encrypt(inner, OAEP_SHA1) + aes_key_wrap_with_padding(inner, plaintext)


def identifier(kid: str) -> KeyIdentifier:
    """Return what an exchange key's identifier names.

    Raises:
        ConfigurationError: it is none, or has no version.
    """
    found = parse_identifier(kid)
    if found is None:
        raise ConfigurationError(f"{kid!r} is not a key identifier: https://VAULT/keys/NAME/VERSION")
    if found.version is None:
        raise ConfigurationError(
            f"{kid} names no version: only the version for which a key was wrapped unwraps it"
        )
    return found


def new_key(kek_uri: str) -> KeyIdentifier:
    """Return what the URI of a key that is to be imported names.

    Raises:
        ConfigurationError: it is not a key identifier, or has a version.
    """
    found = parse_identifier(kek_uri)
    if found is None or found.version is not None:
        raise ConfigurationError(f"{kek_uri!r} does not name a key to import: https://VAULT/keys/NAME")
    return found


def _one_kid(told: str | None, given: str | None, path: Path) -> str:
    if told and given and told != given:
        raise ConfigurationError(f"{path} is the key {told}, not {given}")
    if not (told or given):
        raise ConfigurationError(f"{path} does not tell the key's identifier: give it with its version")
    return cast(str, told or given)


def _from_pem(raw: bytes, path: Path) -> object:
    try:
        return load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} is not a public key in PEM: download it from the vault") from None


def _from_jwk(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()


def _number(text: str) -> int:
    # The command line of Azure prints base64, a JWK is base64url.
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    return int.from_bytes(b64decode(padded.replace("-", "+").replace("_", "/"), validate=True), "big")
