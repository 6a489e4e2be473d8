"""Requests by which the application sees what it may do beyond what it needs. None of them can succeed.

A vault looks at the caller's permission first, and answers 403 without it. With it, it finds the request
wrong: a value that is missing, a type of key that does not exist. Deleting and purging are not tried, because
no such request is safe: Azure's roles that allow them allow making and changing keys too.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest


def extra_permissions(key: KeyIdentifier, version: str) -> Iterator[tuple[str, VaultRequest]]:
    """Return what should be refused, in words, and the request that tries it."""
    path = key.at(version)
    yield "encrypt", VaultRequest("POST", f"{path}/encrypt", {"alg": "RSA-OAEP-256"})
    yield "decrypt", VaultRequest("POST", f"{path}/decrypt", {"alg": "RSA-OAEP-256"})
    yield "sign", VaultRequest("POST", f"{path}/sign", {"alg": "RS256"})
    yield "make keys", VaultRequest("POST", f"keys/{key.name}/create", {"kty": "none"})
    yield "change the key", VaultRequest("PATCH", path, {"attributes": {"enabled": "neither"}})
