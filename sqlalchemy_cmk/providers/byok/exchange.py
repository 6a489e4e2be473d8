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
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.secret import Secret

KTY = "RSA-HSM"
BITS = (2048, 3072, 4096)
OPERATIONS = ["import"]
MAKE_ONE = "make one with: az keyvault key create --kty RSA-HSM --ops import"
# The specification prescribes CKM_RSA_AES_KEY_WRAP's OAEP with SHA-1, whose collisions do not weaken OAEP.
OAEP_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
INNER_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """An exchange key that was checked.

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
        """Check a key and return it as an exchange key.

        Args:
            kid: its identifier.
            public: its public key.
            kty: its key type; ``None`` if it is not known.
            operations: the operations it may be used for; ``None`` if they are not known.

        Raises:
            ConfigurationError: a blob for this key could not be imported; the message says why.
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
                ``az keyvault key download`` writes it. A PEM file holds neither the key type nor the
                operations.
            kid: the key's identifier, if the file does not hold it.

        Raises:
            ConfigurationError: the file holds no public key, the key of another identifier, or a key that
                cannot be an exchange key.
            KeyUnavailable: the file cannot be read.
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
        """Its thumbprint, to check that this is the vault's key and not another one."""
        return thumbprint(self.public)

    @property
    def wrapped_bytes(self) -> int:
        """How many bytes of a blob's ciphertext this key has encrypted."""
        return self.public.key_size // 8

    def wrap(self, plaintext: Secret) -> bytes:
        """Return a target key's plaintext wrapped for this key, as ``CKM_RSA_AES_KEY_WRAP`` does.

        The result is a new AES-256 key wrapped with RSA-OAEP and SHA-1, followed by the plaintext wrapped by
        that AES key with AES key wrap with padding (RFC 5649).
        """
        inner = Secret(token_bytes(INNER_BYTES))
        head = self.public.encrypt(inner.reveal(), OAEP_SHA1)
        return head + aes_key_wrap_with_padding(inner.reveal(), plaintext.reveal())


def identifier(kid: str) -> KeyIdentifier:
    """Return the parts of an exchange key's identifier.

    Raises:
        ConfigurationError: it is not a key identifier, or has no version.
    """
    found = parse_identifier(kid)
    if found is None:
        raise ConfigurationError(
            f"'{shown(kid)}' is not a key identifier: write https://VAULT/keys/NAME/VERSION"
        )
    if found.version is None:
        raise ConfigurationError(
            f"{kid} names no version: add the version for which the key is wrapped; no other unwraps it"
        )
    return found


def new_key(kek_uri: str) -> KeyIdentifier:
    """Return the parts of the URI of a key that is to be imported.

    Raises:
        ConfigurationError: it is not a key identifier, or has a version.
    """
    found = parse_identifier(kek_uri)
    if found is None or found.version is not None:
        raise ConfigurationError(
            f"'{shown(kek_uri)}' does not name a key to import: write https://VAULT/keys/NAME"
        )
    return found


def _one_kid(found: str | None, given: str | None, path: Path) -> str:
    if found and given and found != given:
        raise ConfigurationError(f"{path} is the key {found}, not {given}")
    if not (found or given):
        raise ConfigurationError(f"{path} does not hold the key's identifier: give it with its version")
    return cast(str, found or given)


def _from_pem(raw: bytes, path: Path) -> object:
    try:
        return load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} is not a public key in PEM: download it from the vault") from None


def _from_jwk(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()


def _number(text: str) -> int:
    # Azure's command line prints base64; a JWK holds base64url.
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    return int.from_bytes(b64decode(padded.replace("-", "+").replace("_", "/"), validate=True), "big")
