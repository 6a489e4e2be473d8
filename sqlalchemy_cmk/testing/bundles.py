"""Builds key bundles, list items and attributes as in Key Vault's answers."""

from __future__ import annotations

from typing import Any

from sqlalchemy_cmk.testing.store import RETENTION_DAYS, Key, KeyStore, KeyVersion


def attributes(store: KeyStore, version: KeyVersion) -> dict[str, Any]:
    """Return a version's attributes; dates are whole seconds."""
    shown: dict[str, Any] = {
        "enabled": version.enabled,
        "created": int(version.created),
        "updated": int(version.updated),
        "recoveryLevel": "Recoverable" if store.purge_protection else "Recoverable+Purgeable",
        "recoverableDays": RETENTION_DAYS,
        "exportable": False,
    }
    if version.material.public()["kty"].endswith("-HSM"):
        shown["hsmPlatform"] = "2"
    if version.not_before is not None:
        shown["nbf"] = int(version.not_before)
    if version.expires is not None:
        shown["exp"] = int(version.expires)
    return shown


def bundle(store: KeyStore, version: KeyVersion) -> dict[str, Any]:
    """Return a version with its public JWK."""
    key = {"kid": version.kid, "key_ops": version.key_ops, **version.material.public()}
    return {"key": key, "attributes": attributes(store, version), "tags": version.tags}


def item(store: KeyStore, version: KeyVersion, with_version: bool) -> dict[str, Any]:
    """Return a version as a list shows it."""
    kid = version.kid if with_version else f"{store.url}/keys/{version.name}"
    return {"kid": kid, "attributes": attributes(store, version), "tags": version.tags}


def deletion(store: KeyStore, key: Key) -> dict[str, Any]:
    """Return the members that a deleted key's bundle has in addition."""
    return {
        "recoveryId": f"{store.url}/deletedkeys/{key.name}",
        "deletedDate": int(key.deleted),
        "scheduledPurgeDate": int(key.purged_at),
    }
