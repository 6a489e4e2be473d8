"""Tells what looks like ciphertext by its form alone. See :func:`ciphertext_among`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

# An AES block, in bytes: less is not worth a guess.
_BLOCK = 16

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)", re.ASCII)
_ENCODED = r"[A-Za-z0-9+/_-]"

# Forms that nothing else has, each as its writers describe it.
_MARKED = tuple(
    (re.compile(pattern, re.ASCII), what)
    for pattern, what in (
        # Version 0x80, and a time in seconds whose first three bytes are zero until the year 2106.
        (
            rf"gAAAAA{_ENCODED}{{92,}}={{0,2}}$",
            "Fernet tokens, as sqlalchemy-utils and advanced-alchemy write",
        ),
        (r"-----BEGIN PGP MESSAGE-----", "PGP messages, as pgcrypto writes"),
        (r"-----BEGIN AGE ENCRYPTED FILE-----", "age files"),
        (rf"vault:v\d+:{_ENCODED}+={{0,2}}$", "ciphertexts of Vault's transit engine"),
        (r"\$A256GCM\$", "values of gemstone-utils"),
        (rf"v\d+:{_ENCODED}{{38,}}={{0,2}}$", "values of sealed-fields"),
        (
            rf"eyJ{_ENCODED}+\.{_ENCODED}*\.{_ENCODED}+\.{_ENCODED}+\.{_ENCODED}+$",
            "JSON Web Encryption tokens",
        ),
        (r'\{"p":"[^"]*","h":\{"iv":"', "values of Rails' Active Record Encryption"),
    )
)


def ciphertext_among(values: Iterable[Any]) -> str | None:
    """Return what sampled values look like in words, if that is ciphertext; ``None`` if it is not.

    One value of a form that nothing else has is enough. Base64 of bytes that are not text has to be all.

    Args:
        values: texts, or bytes that hold text; others are passed over.
    """
    texts = [text for text in map(_text, values) if text]
    for pattern, what in _MARKED:
        if any(map(pattern.match, texts)):
            return what
    if texts and all(map(_is_scrambled, texts)) and _is_mixed("".join(texts)):
        return "base64 of encrypted bytes, as sqlalchemy-utils' AES engines write"
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode() if isinstance(value, bytes | bytearray | memoryview) else None
    except UnicodeError:
        return None


def _is_scrambled(text: str) -> bool:
    """Return whether a text is base64 of at least a block of bytes that are not text."""
    if not _BASE64.fullmatch(text) or _HEX.fullmatch(text):
        return False
    raw = b64decode(text)
    return len(raw) >= _BLOCK and _text(raw) is None


def _is_mixed(text: str) -> bool:
    """Return whether letters of either case and digits are in a text, as in base64 of random bytes."""
    return all(re.search(kind, text) for kind in ("[A-Z]", "[a-z]", "[0-9]"))
