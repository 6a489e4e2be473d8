"""What is well and what is not with a KEK in a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pkcs11 import Attribute, KeyType, PKCS11Error, TokenFlag

from sqlalchemy_cmk.providers.base import Finding, Level
from sqlalchemy_cmk.providers.pkcs11.keys import Kek

LEAST_RSA_BITS = 2048
AES_BITS = 256


def examine_kek(newest: Kek, versions: list[Kek], algorithm: str, token: Any, kek_uri: str) -> list[Finding]:
    """Return the findings about a KEK that wraps and unwraps."""
    parts = (
        _login(token, kek_uri),
        _kind(newest, algorithm, kek_uri),
        _protection(newest, kek_uri),
        _versions(newest, versions, kek_uri),
    )
    return [finding for part in parts for finding in part]


def _login(token: Any, kek_uri: str) -> Iterator[Finding]:
    where = f"{token.manufacturer_id.strip()} {token.model.strip()}"
    if token.flags & TokenFlag.USER_PIN_COUNT_LOW:
        mend = "log in once by hand, and look for who has a wrong PIN"
        yield Finding(Level.WARNING, kek_uri, "a wrong PIN was tried since the last good login", mend)
    else:
        yield Finding(Level.OK, kek_uri, f"logged in to the token {token.label!r} ({where})")


def _kind(kek: Kek, algorithm: str, kek_uri: str) -> Iterator[Finding]:
    bits = size_of(kek)
    name = "AES" if kek.type is KeyType.AES else "RSA"
    what = f"{name} of {bits} bits, wraps with {algorithm}"
    if name == "RSA" and bits < LEAST_RSA_BITS:
        yield Finding(Level.PROBLEM, kek_uri, what, f"make one of {LEAST_RSA_BITS} bits or more")
    elif name == "AES" and bits < AES_BITS:
        yield Finding(Level.WARNING, kek_uri, what, "a DEK has 256 bits: make a KEK of as many")
    elif algorithm == "RSA-OAEP":
        mend = "the token offers no SHA-256 with OAEP: use an AES key"
        yield Finding(Level.WARNING, kek_uri, f"{what} and SHA-1", mend)
    else:
        yield Finding(Level.OK, kek_uri, what)


def _protection(kek: Kek, kek_uri: str) -> Iterator[Finding]:
    extractable, sensitive = _flag(kek, Attribute.EXTRACTABLE), _flag(kek, Attribute.SENSITIVE)
    if extractable or sensitive is False:
        mend = "make a new key with CKA_SENSITIVE and without CKA_EXTRACTABLE, and run cmk rewrap"
        yield Finding(Level.PROBLEM, kek_uri, "the key can be taken out of the token", mend)
    elif _flag(kek, Attribute.NEVER_EXTRACTABLE) is False:
        mend = "where that is not meant so, rotate it in the token, and run cmk rewrap"
        yield Finding(Level.WARNING, kek_uri, "it was made outside of the token, or was extractable", mend)
    else:
        yield Finding(Level.OK, kek_uri, "sensitive and not extractable")


def _versions(newest: Kek, versions: list[Kek], kek_uri: str) -> Iterator[Finding]:
    if newest.made_here and not all(kek.made_here for kek in versions):
        mend = "rotate with Pkcs11KeyProvider.rotate, or name a version with id= in the KEK's URI"
        what = "some versions were made by other tools: they do not become the newest (docs/hsm.md)"
        yield Finding(Level.WARNING, kek_uri, what, mend)
    else:
        yield Finding(Level.OK, kek_uri, f"versions: {len(versions)}, the newest is {newest.version}")


def size_of(kek: Kek) -> int:
    """Return a KEK's bits."""
    if kek.type is KeyType.AES:
        return 8 * int(kek.key[Attribute.VALUE_LEN])
    return int.from_bytes(kek.key[Attribute.MODULUS], "big").bit_length()


def _flag(kek: Kek, attribute: Attribute) -> bool | None:
    try:
        return bool(kek.key[attribute])
    except PKCS11Error:
        return None
