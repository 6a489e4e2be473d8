"""Health checks of a key in a vault: what Microsoft requires or recommends for a customer-managed key."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.providers.azure.commands import Commands
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.keys import NEEDED, VaultKey
from sqlalchemy_cmk.providers.azure.vault import Vault

SOON = 30 * 86400
# The attribute hsmPlatform of a key (learn.microsoft.com/azure/key-vault/keys/about-keys).
PLATFORMS = {"1": ", in an HSM of FIPS 140-2 Level 2", "2": ", in an HSM of FIPS 140-3 Level 3"}


def check_key(key: VaultKey, kek_uri: str, identifier: KeyIdentifier, vault: Vault) -> list[Finding]:
    """Return the findings about a key that wraps and unwraps."""
    commands = Commands(identifier, found=key)
    findings = [
        *_recovery(key, kek_uri, commands),
        *_dates(key, kek_uri, identifier),
        *_kind(key, kek_uri, commands),
    ]
    try:
        findings += _rotation(kek_uri, identifier, vault, commands)
    except CmkError as error:
        findings.append(
            Finding(Level.WARNING, kek_uri, f"not everything could be checked: {error}", "try again")
        )
    return findings


def _recovery(key: VaultKey, kek_uri: str, commands: Commands) -> Iterator[Finding]:
    if not key.recovery:
        yield Finding(Level.WARNING, kek_uri, "the vault does not say whether deleted keys can be recovered")
    elif "Recoverable" not in key.recovery:
        remedy = f"turn on soft delete: {commands.protect()}"
        yield Finding(
            Level.PROBLEM, kek_uri, "soft delete is off: a deleted key is gone, and the data with it", remedy
        )
    elif "Purgeable" in key.recovery:
        remedy = f"turn it on: {commands.protect()}"
        what = "purge protection is off: a deleted key can be purged, and the data with it"
        yield Finding(Level.PROBLEM, kek_uri, what, remedy)
    else:
        yield Finding(Level.OK, kek_uri, "soft delete and purge protection are on")


def _dates(key: VaultKey, kek_uri: str, identifier: KeyIdentifier) -> Iterator[Finding]:
    if key.expires is not None and key.expires - time.time() < SOON:
        days = int((key.expires - time.time()) // 86400)
        remedy = "rotate it, or extend its expiry, and run cmk rewrap"
        yield Finding(Level.WARNING, kek_uri, f"this version expires in {days} days", remedy)
    if identifier.version is not None:
        remedy = "assign the identifier without a version: it follows rotation"
        yield Finding(Level.WARNING, kek_uri, "the identifier names a version", remedy)


def _kind(key: VaultKey, kek_uri: str, commands: Commands) -> Iterator[Finding]:
    size = f" of {key.bits} bits" if key.bits else ""
    validated = PLATFORMS.get(key.hsm_platform, "")
    yield Finding(Level.OK, kek_uri, f"{key.kty}{size}, enabled{validated}")
    extra = sorted(key.operations - NEEDED)
    if extra:
        remedy = f"restrict them: {commands.restrict_key()}"
        yield Finding(Level.WARNING, kek_uri, f"the key may also be used to {', '.join(extra)}", remedy)


def _rotation(kek_uri: str, identifier: KeyIdentifier, vault: Vault, commands: Commands) -> Iterator[Finding]:
    answer = vault.get(f"keys/{identifier.name}/rotationpolicy")
    if answer.status == 403:
        yield Finding(Level.OK, kek_uri, "the application cannot read the rotation policy, as it should be")
        return
    if _rotates(answer.body.get("lifetimeActions")):
        yield Finding(Level.OK, kek_uri, "the key rotates by a policy")
    else:
        remedy = f"set one: {commands.let_rotate()}"
        yield Finding(Level.WARNING, kek_uri, "the key has no rotation policy", remedy)


def _rotates(actions: object) -> bool:
    listed = actions if isinstance(actions, list) else []
    kinds = [one.get("action") for one in listed if isinstance(one, dict)]
    return any(str(kind.get("type")).lower() == "rotate" for kind in kinds if isinstance(kind, dict))
