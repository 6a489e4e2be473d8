"""The hosts to which a vault's tokens and DEKs may be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers.azure.identifiers import HOST, HTTPS_PORT, LABEL, PORT, KeyIdentifier
from sqlalchemy_cmk.providers.uris import shown

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

FORMS = "'vault.example', '*.vault.example' (one label before it), or 'vault.example:8443' for an emulator"

_ONE = re.compile(rf"({HOST})(?::({PORT}))?", re.ASCII)
# Two labels or more, the last no number: never a whole top-level domain, never a range of addresses.
_EACH = re.compile(rf"\*\.({LABEL}(?:\.{LABEL})*\.(?![0-9]+\Z){LABEL})", re.ASCII)


class TrustedHosts:
    """Azure's hosts and those that the application names; compared label by label, on the whole name.

    Args:
        further: host names, ``*.suffix`` for one label before a suffix, or ``host:port``. Without a port it
            is 443.

    Raises:
        ConfigurationError: one of them is none of these.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        if isinstance(further, str):
            raise ConfigurationError(f"trusted_hosts is a list of host names: give [{further!r}]")
        self._exactly: set[tuple[str, int]] = set()
        self._suffixes: set[str] = set()
        for entry in (*AZURE_HOSTS, *further):
            self._add(entry)

    def trusts(self, key: KeyIdentifier) -> bool:
        """Return whether tokens may be sent to a key's vault."""
        if (key.host, key.port) in self._exactly:
            return True
        return key.port == HTTPS_PORT and key.host.partition(".")[2] in self._suffixes

    def _add(self, entry: object) -> None:
        text = entry if isinstance(entry, str) else ""
        each, one = _EACH.fullmatch(text), _ONE.fullmatch(text)
        if each is not None:
            self._suffixes.add(each[1])
        elif one is not None:
            self._exactly.add((one[1], int(one[2] or HTTPS_PORT)))
        else:
            raise ConfigurationError(f"trusted_hosts: '{shown(str(entry))}' is not a host: write {FORMS}")
