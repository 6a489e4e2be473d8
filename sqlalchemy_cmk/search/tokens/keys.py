"""The key of one search index: derived from a DEK of purpose ``search``, for all that changes a token.

::

    info = 0x81 | lp(kind) | context | lp(normalizer) | number of parameters (1) | each parameter, by name
    parameter = lp(name) | 0x69 | lp(decimal digits) for an integer, lp(name) | 0x73 | lp(text) for a text
    lp = 2-byte big-endian length, then the bytes; texts are UTF-8

The context says where it ends (see ``format.py``), as does each other part: no two different indexes have the
same info. The key is HKDF-SHA256 (RFC 5869) without salt, of 32 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy_cmk.format import Context, derived_key, prefixed
from sqlalchemy_cmk.runtime.secret import Secret

KEY_BYTES = 32
MAX_PARAMETERS = 0xFF

# Search tokens, version 1. The suites of sealed values are below 0x80: no column's info begins so.
_FORMAT = b"\x81"
_INTEGER, _TEXT = b"i", b"s"


def index_info(kind: str, context: Context, normalizer: str, parameters: Mapping[str, int | str]) -> bytes:
    """Return what the key of an index is bound to.

    Args:
        kind: the kind of index, such as ``"exact"``. ``"suffix"`` is a kind beside ``"prefix"``.
        context: what the column's values are bound to.
        normalizer: the :attr:`~sqlalchemy_cmk.search.normalizers.Normalizer.identifier` of its normalizer.
        parameters: every option that changes a token, and the domain's; their order does not matter.

    Raises:
        ValueError: a part is longer than 65,535 bytes as UTF-8 or not valid Unicode, or there are more than
            255 parameters.
        TypeError: a parameter is neither an integer nor a text.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"an index has at most {MAX_PARAMETERS} parameters, not {len(parameters)}")
    parts = [_FORMAT, prefixed(kind.encode()), context.data, prefixed(normalizer.encode())]
    parts.append(bytes((len(parameters),)))
    for name in sorted(parameters):
        parts += [prefixed(name.encode()), _parameter(name, parameters[name])]
    return b"".join(parts)


def _parameter(name: str, value: int | str) -> bytes:
    if isinstance(value, str):
        return _TEXT + prefixed(value.encode())
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"the parameter {name} is an integer or a text, not {type(value).__name__}")
    return _INTEGER + prefixed(b"%d" % value)


def index_key(dek: Secret | bytes, info: bytes) -> Secret:
    """Return the key of an index, 32 bytes.

    Args:
        dek: a DEK of purpose ``search``, 32 bytes.
        info: from :func:`index_info`.

    Raises:
        ValueError: the DEK does not have 32 bytes.
    """
    dek = hidden(dek)
    return derived_key(dek, info, KEY_BYTES)


def hidden(key: Secret | bytes) -> Secret:
    """Return a key as what no crash report shows.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    key = key if isinstance(key, Secret) else Secret(key)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return key
