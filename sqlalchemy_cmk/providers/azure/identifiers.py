"""Key identifiers: ``https://VAULT/keys/NAME`` and ``https://VAULT/keys/NAME/VERSION``.

One grammar, for the whole text and ASCII only. A request goes to an address that is made of the parsed parts:
no text of a KEK's URI is ever given to anything else that parses addresses, which may read it otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy_cmk.errors import TamperedError

HTTPS_PORT = 443
LONGEST_HOST = 253
LONGEST_SHOWN = 200

# Lower case, and no "--": a name that begins with "xn--" is shown as other letters than it has.
LABEL = r"(?=[a-z0-9-]{1,63}(?![a-z0-9-]))[a-z0-9]+(?:-[a-z0-9]+)*"
HOST = rf"{LABEL}(?:\.{LABEL})*"
PORT = r"[1-9][0-9]{0,4}"

_VERSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_URI = re.compile(
    rf"https://({HOST})(?::({PORT}))?/keys/([0-9A-Za-z-]{{1,127}})(?:/({_VERSION.pattern}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class KeyIdentifier:
    """A key in a vault.

    Attributes:
        host: the vault's host name.
        port: its port.
        name: the key's name.
        version: the version, or ``None`` for the newest.
    """

    host: str
    port: int
    name: str
    version: str | None

    @property
    def vault_url(self) -> str:
        """The vault's address, without a trailing slash."""
        return f"https://{self.host}" + ("" if self.port == HTTPS_PORT else f":{self.port}")

    def at(self, version: str | None = None) -> str:
        """Return the path of a version, or of the newest, for a request to the vault.

        Raises:
            TamperedError: the version is none of Key Vault's.
        """
        if version is not None and not is_version(version):
            raise TamperedError(f"{version[:LONGEST_SHOWN]!a} is not a version of a key in a vault")
        return f"keys/{self.name}/{version or ''}"


def parse_identifier(kek_uri: str) -> KeyIdentifier | None:
    """Return the parts of a key identifier, or ``None`` if the text is not one."""
    found = _URI.fullmatch(kek_uri)
    if found is None or len(found[1]) > LONGEST_HOST or int(found[2] or HTTPS_PORT) > 65535:
        return None
    return KeyIdentifier(found[1], int(found[2] or HTTPS_PORT), found[3], found[4])


def is_version(text: str) -> bool:
    """Return whether a text is a version as vaults name them: 32 hexadecimal digits."""
    return _VERSION.fullmatch(text) is not None
