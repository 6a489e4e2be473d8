"""PKCS#11 URIs (RFC 7512), which name KEKs in tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from sqlalchemy_cmk.errors import ConfigurationError

SCHEME = "pkcs11:"
FORM = "pkcs11:token=LABEL;object=NAME"

_TOKEN = ("token", "serial", "manufacturer", "model", "slot-id", "slot-description", "slot-manufacturer")
_TYPES = ("secret-key", "private")
# RFC 7512, section 2.3: pk11-pchar. Everything else is percent-encoded, line breaks too.
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class KekIdentifier:
    """The parts of a KEK's URI.

    Attributes:
        token: the attributes of its token, ``token`` (the label), ``serial``, ``manufacturer``, ``model``,
            and of its slot, ``slot-id``, ``slot-description``, ``slot-manufacturer``.
        label: the KEK's ``CKA_LABEL``; ``None`` if the URI names it by its id only.
        id: the ``CKA_ID`` of one version; ``None`` for the newest.
        type: ``"secret-key"`` or ``"private"``; ``None`` for either.
    """

    token: tuple[tuple[str, str], ...]
    label: str | None
    id: bytes | None
    type: str | None

    @property
    def token_label(self) -> str:
        """The token's label, or its serial number if the URI gives no label."""
        given = dict(self.token)
        return given.get("token") or given.get("serial", "")


def is_pkcs11(kek_uri: str) -> bool:
    """Return whether a URI has the scheme ``pkcs11:`` and is not empty after it."""
    return kek_uri[: len(SCHEME)].lower() == SCHEME and len(kek_uri) > len(SCHEME)


def parse_identifier(kek_uri: str) -> KekIdentifier:
    """Parse a KEK's URI.

    Raises:
        ConfigurationError: it does not name a token and a key, or holds a PIN, a module's path or anything
            else that is not supported. The message does not repeat what was refused: it may be a PIN.
    """
    path, mark, _ = kek_uri[len(SCHEME) :].partition("?")
    if mark:
        raise ConfigurationError(
            "a PKCS#11 URI of a KEK has no part after '?': give the PIN and the module to "
            f"Pkcs11KeyProvider, and write {FORM}"
        )
    given = _attributes(path)
    token = tuple((name, _text(given.pop(name))) for name in _TOKEN if name in given)
    label = given.pop("object", None)
    id_ = given.pop("id", None)
    type_ = given.pop("type", None)
    if given or (type_ is not None and type_ not in (one.encode() for one in _TYPES)):
        raise ConfigurationError(
            "a PKCS#11 URI of a KEK has an attribute that is not supported: it may have "
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
        if not equals or name in given or not _VALUE.fullmatch(value):
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
