"""Key identifiers: ``https://VAULT/keys/NAME`` and ``https://VAULT/keys/NAME/VERSION``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

AZURE_HOSTS = (
    "*.vault.azure.net",
    "*.managedhsm.azure.net",
    "*.vault.azure.cn",
    "*.managedhsm.azure.cn",
    "*.vault.usgovcloudapi.net",
    "*.managedhsm.usgovcloudapi.net",
    "*.vault.microsoftazure.de",
)
"""Azure's clouds (learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates)."""

_PATH = re.compile(r"/keys/([0-9A-Za-z-]{1,127})(?:/([0-9A-Za-z]{1,64}))?/?")


@dataclass(frozen=True, slots=True)
class KeyIdentifier:
    """A key in a vault.

    Attributes:
        vault_url: the vault's address, without a trailing slash.
        host: its host name.
        name: the key's name.
        version: the version that is meant, or ``None`` for the newest.
    """

    vault_url: str
    host: str
    name: str
    version: str | None

    def at(self, version: str) -> str:
        """Return the path of one version, for a request to the vault."""
        return f"keys/{self.name}/{version}"


def parse_identifier(kek_uri: str) -> KeyIdentifier | None:
    """Return what a key identifier names, or ``None`` where the text is none."""
    try:
        parts = urlsplit(kek_uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    found = _PATH.fullmatch(parts.path)
    if (
        parts.scheme != "https"
        or not host
        or not found
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        return None
    return KeyIdentifier(f"https://{host}{f':{port}' if port else ''}", host, found[1], found[2])
