"""A key as its vault describes it, and whether it can serve as a KEK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.providers import _base64url
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier, is_version

ALGORITHMS = {"RSA": "RSA-OAEP-256", "RSA-HSM": "RSA-OAEP-256", "oct-HSM": "A256KW"}
NEEDED = frozenset({"wrapKey", "unwrapKey"})
MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VaultKey:
    """A version of a key, without its secret.

    Attributes:
        version: the version's id.
        kty: its type: ``RSA``, ``RSA-HSM`` or ``oct-HSM``; others cannot serve as a KEK.
        bits: the size of an RSA key; 0 for other keys, whose size the vault does not show.
        operations: the operations it may be used for.
        enabled: whether it is enabled.
        not_before: when it becomes valid, in seconds since 1970.
        expires: when it expires, in seconds since 1970.
        recovery: Key Vault's ``recoveryLevel``.
        tags: its owner's tags.
        hsm_platform: Key Vault's ``hsmPlatform``: ``1`` or ``2``; empty where the vault does not say.
    """

    version: str
    kty: str
    bits: int
    operations: frozenset[str]
    enabled: bool
    not_before: float | None
    expires: float | None
    recovery: str
    tags: Mapping[str, str]
    hsm_platform: str = ""

    @classmethod
    def read(cls, bundle: dict[str, Any], key: KeyIdentifier) -> VaultKey:
        """Parse a key bundle of Key Vault.

        Args:
            bundle: the vault's answer.
            key: the key that was asked for.

        Raises:
            KeyUnavailable: the answer does not describe this key.
        """
        try:
            found = msgspec.convert(bundle, _Bundle)
            version = found.key.kid.rpartition("/")[2]
            if is_version(version) and key.version in (None, version):
                return cls(
                    version=version,
                    kty=found.key.kty,
                    bits=int.from_bytes(_base64url.decode(found.key.n or "")).bit_length(),
                    operations=frozenset(found.key.key_ops or ()),
                    enabled=found.attributes.enabled,
                    not_before=found.attributes.nbf,
                    expires=found.attributes.exp,
                    recovery=found.attributes.recoveryLevel or "",
                    tags={name: one for name, one in (found.tags or {}).items() if isinstance(one, str)},
                    hsm_platform=found.attributes.hsmPlatform or "",
                )
        except (msgspec.ValidationError, ValueError):
            pass
        raise KeyUnavailable(f"{key.vault_url}: the vault's answer does not describe the key {key.name}")


_Word = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z+_-]{0,64}\Z")]


class _Key(msgspec.Struct):
    kid: str
    kty: _Word
    n: str | None = None
    key_ops: list[_Word] | None = None


class _Attributes(msgspec.Struct):
    enabled: bool = True
    nbf: float | None = None
    exp: float | None = None
    recoveryLevel: _Word | None = None
    hsmPlatform: _Word | None = None


class _Bundle(msgspec.Struct):
    key: _Key
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)
    tags: dict[str, Any] | None = None


def fits(key: VaultKey, now: float) -> bool:
    """Return whether a key can serve as a KEK now."""
    try:
        refuse_unfit(key, "", now)
    except (ConfigurationError, KeyRevoked):
        return False
    return True


def algorithm_for(key: VaultKey, kek_uri: str) -> str:
    """Return the wrapping algorithm of a key.

    Raises:
        ConfigurationError: keys of its type cannot wrap.
    """
    if key.kty not in ALGORITHMS:
        raise ConfigurationError(
            f"{kek_uri} is of type {key.kty}: make a KEK of type RSA, RSA-HSM, or oct-HSM on a Managed HSM"
        )
    return ALGORITHMS[key.kty]


def refuse_unfit(key: VaultKey, kek_uri: str, now: float) -> None:
    """Refuse a key that cannot serve as a KEK now; the error says what to do.

    Raises:
        ConfigurationError: its type, size or operations are not those of a KEK.
        KeyRevoked: it is disabled, or outside its dates.
    """
    algorithm_for(key, kek_uri)
    if key.kty != "oct-HSM" and key.bits < MIN_RSA_BITS:
        raise ConfigurationError(f"{kek_uri} has {key.bits} bits: make one of {MIN_RSA_BITS} or more")
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
