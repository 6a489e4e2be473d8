"""PKCS#11 URIs (RFC 7512) as names of KEKs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from sqlalchemy_cmk.errors import ConfigurationError

SCHEME = "pkcs11:"
FORM = "pkcs11:token=LABEL;object=NAME"

_TOKEN = ("token", "serial", "manufacturer", "model")
_TYPES = ("secret-key", "private")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class KekIdentifier:
    """A KEK's name, taken apart.

    Attributes:
        token: the attributes of its token: ``token`` (the label), ``serial``, ``manufacturer``, ``model``.
        label: its ``CKA_LABEL``; ``None`` where the URI names it by its id alone.
        id: its ``CKA_ID``; ``None`` where the newest version is wanted.
        type: ``"secret-key"`` or ``"private"``; ``None`` where either will do.
    """

    token: tuple[tuple[str, str], ...]
    label: str | None
    id: bytes | None
    type: str | None

    @property
    def token_label(self) -> str:
        """The token's label, or its serial number where the URI gives no label."""
        given = dict(self.token)
        return given.get("token") or given.get("serial", "")


def is_pkcs11(kek_uri: str) -> bool:
    """Tell whether a URI has the scheme, and something behind it."""
    return kek_uri[: len(SCHEME)].lower() == SCHEME and len(kek_uri) > len(SCHEME)


def parse_identifier(kek_uri: str) -> KekIdentifier:
    """Take a KEK's URI apart.

    Raises:
        ConfigurationError: it does not name a token and a key, or carries a PIN, a module's path or
            anything else that is not looked at here. What was refused is not repeated: it may be a PIN.
    """
    path, mark, _ = kek_uri[len(SCHEME) :].partition("?")
    if mark:
        raise ConfigurationError(
            "a PKCS#11 URI of a KEK has no part after '?': the PIN and the module are given to "
            f"Pkcs11KeyProvider; write {FORM}"
        )
    given = _attributes(path)
    token = tuple((name, _text(given.pop(name))) for name in _TOKEN if name in given)
    label = given.pop("object", None)
    id_ = given.pop("id", None)
    type_ = given.pop("type", None)
    if given or (type_ is not None and type_ not in (one.encode() for one in _TYPES)):
        raise ConfigurationError(
            "a PKCS#11 URI of a KEK has an attribute that is not used here: it may have "
            f"{', '.join(_TOKEN)}, object, id, and type={' or type='.join(_TYPES)}"
        )
    if not {name for name, _ in token} & {"token", "serial"} or not (label or id_):
        raise ConfigurationError(f"a PKCS#11 URI of a KEK names its token and the key: write {FORM}")
    return KekIdentifier(
        token,
        label=None if label is None else _text(label),
        id=id_,
        type=None if type_ is None else type_.decode(),
    )


def _attributes(path: str) -> dict[str, bytes]:
    given: dict[str, bytes] = {}
    for part in path.split(";"):
        name, equals, value = part.partition("=")
        if not equals or name in given or not value or _PERCENT.search(value):
            raise ConfigurationError(
                f"a PKCS#11 URI of a KEK is not well formed (RFC 7512): write {FORM}, each attribute once"
            )
        given[name] = unquote_to_bytes(value)
    return given


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(
            "a PKCS#11 URI of a KEK is not well formed: names are UTF-8, percent-encoded"
        ) from None
