"""KEK URIs as messages show them: without what people type into them by mistake."""

from __future__ import annotations

import re
from urllib.parse import unquote

from sqlalchemy_cmk.runtime.printable import printable

MAX_SHOWN = 200
OMITTED = "..."

# RFC 7512, section 2.3: the attributes that say which object is meant, and no secret.
_PUBLIC = {
    *("token", "manufacturer", "serial", "model", "object", "type", "id"),
    *("library-manufacturer", "library-version", "library-description"),
    *("slot-manufacturer", "slot-description", "slot-id"),
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_END = re.compile(r"[?#&]|%3f|%23|%26", re.IGNORECASE)
_AT = re.compile(r"@|%40", re.IGNORECASE)
_SECRET = re.compile(r"pin|pass|pwd|secret|token|credential|sig\b|\bkey=|api-?key|bearer", re.IGNORECASE)


def shown(kek_uri: str) -> str:
    """Return a KEK's URI for a message: somebody may have typed a PIN or a password into it.

    It is cut where a query or a fragment begins. User information, parameters, attributes of a PKCS#11 URI
    that name no object, and whatever names a PIN or a password are left out; control characters are escaped.

    Args:
        kek_uri: any text.
    """
    scheme = _SCHEME.match(kek_uri)
    if scheme is None:
        kept = _without_parameters(kek_uri)
    elif scheme.group().lower() == "pkcs11:":
        kept = scheme.group() + _attributes(kek_uri[scheme.end() :])
    else:
        kept = scheme.group() + _without_parameters(kek_uri[scheme.end() :])
    if kept != kek_uri:
        kept += OMITTED
    return escaped(kept)


def escaped(text: str) -> str:
    """Return a text on one line, with every character that cannot be printed escaped."""
    if len(text) > MAX_SHOWN:
        text = text[:MAX_SHOWN] + OMITTED
    return printable(text)


def _attributes(rest: str) -> str:
    kept = [part for part in _END.split(rest, maxsplit=1)[0].split(";") if _is_public(part)]
    return ";".join(kept)


def _is_public(attribute: str) -> bool:
    name, equals, value = attribute.partition("=")
    return bool(equals) and name in _PUBLIC and "=" not in unquote(value)


def _without_parameters(rest: str) -> str:
    path = _END.split(rest, maxsplit=1)[0].partition(";")[0]
    slashes = path[: len(path) - len(path.lstrip("/\\"))]
    path = slashes + _AT.split(path[len(slashes) :])[-1]
    return slashes if _SECRET.search(unquote(path)) and "=" in unquote(path) else path
