"""What a vault says of a key, and whether the key can serve as a KEK."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable

ALGORITHMS = {"RSA": "RSA-OAEP-256", "RSA-HSM": "RSA-OAEP-256", "oct-HSM": "A256KW"}
NEEDED = frozenset({"wrapKey", "unwrapKey"})
LEAST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VaultKey:
    """One version of a key, without its secret.

    Attributes:
        version: its version.
        kty: ``RSA``, ``RSA-HSM`` or ``oct-HSM``; others cannot serve.
        bits: the size of an RSA key; 0 for others, whose size is not shown.
        operations: what it may be used for.
        enabled: whether it is.
        not_before: from when on it is valid, in seconds since 1970.
        expires: until when.
        recovery: Key Vault's ``recoveryLevel``.
    """

    version: str
    kty: str
    bits: int
    operations: frozenset[str]
    enabled: bool
    not_before: float | None
    expires: float | None
    recovery: str

    @classmethod
    def read(cls, bundle: dict[str, Any], kek_uri: str) -> VaultKey:
        """Read Key Vault's key bundle."""
        try:
            key, attributes = bundle["key"], bundle.get("attributes", {})
            modulus = key.get("n", "")
            return cls(
                version=str(key["kid"]).rstrip("/").rpartition("/")[2],
                kty=str(key["kty"]),
                bits=int.from_bytes(urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length(),
                operations=frozenset(key.get("key_ops") or ()),
                enabled=bool(attributes.get("enabled", True)),
                not_before=attributes.get("nbf"),
                expires=attributes.get("exp"),
                recovery=str(attributes.get("recoveryLevel", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise KeyUnavailable(f"{kek_uri}: the vault's answer describes no key") from None


def algorithm_for(key: VaultKey, kek_uri: str) -> str:
    """Return the wrapping algorithm of a key.

    Raises:
        ConfigurationError: it has none.
    """
    if key.kty not in ALGORITHMS:
        raise ConfigurationError(
            f"{kek_uri} is of type {key.kty}: a KEK is RSA, RSA-HSM, or oct-HSM on a Managed HSM"
        )
    return ALGORITHMS[key.kty]


def refuse_unfit(key: VaultKey, kek_uri: str, now: float) -> None:
    """Refuse a key that cannot serve as a KEK now, and say how to mend it.

    Raises:
        ConfigurationError: its type, size or operations are not those of a KEK.
        KeyRevoked: it is disabled, or outside its dates.
    """
    algorithm_for(key, kek_uri)
    if key.kty != "oct-HSM" and key.bits < LEAST_RSA_BITS:
        raise ConfigurationError(f"{kek_uri} has {key.bits} bits: make one of {LEAST_RSA_BITS} or more")
    if key.operations and not key.operations >= NEEDED:
        missing = " and ".join(sorted(NEEDED - key.operations))
        raise ConfigurationError(
            f"{kek_uri} lacks the operation {missing}: add it to the key's permitted operations"
        )
    if not key.enabled:
        raise KeyRevoked(f"{kek_uri} is disabled: its owner enables it")
    if key.expires is not None and now >= key.expires:
        raise KeyRevoked(f"{kek_uri} has expired: its owner rotates it or extends its expiry")
    if key.not_before is not None and now < key.not_before:
        raise KeyRevoked(f"{kek_uri} is not valid yet: its owner changes its activation date")
