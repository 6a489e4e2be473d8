"""Health checks of a KEK in a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pkcs11 import Attribute, KeyType, PKCS11Error, TokenFlag

from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.providers.pkcs11.keys import Kek

MIN_RSA_BITS = 2048
AES_BITS = 256


def check_kek(
    newest: Kek, versions: list[Kek], algorithm: str, token: Any, kek_uri: str, *, mistyped: bool
) -> list[Finding]:
    """Return the findings about a KEK that wraps and unwraps.

    Args:
        newest: its newest version.
        versions: all of them.
        algorithm: what it wraps with.
        token: where it is.
        kek_uri: its URI.
        mistyped: whether the token had counted a wrong PIN before this process logged in.
    """
    parts = (
        _login(token, kek_uri, mistyped or bool(token.flags & TokenFlag.USER_PIN_COUNT_LOW)),
        _kind(newest, algorithm, kek_uri),
        _protection(newest, kek_uri),
        _versions(newest, versions, kek_uri),
    )
    return [finding for part in parts for finding in part]


def _login(token: Any, kek_uri: str, mistyped: bool) -> Iterator[Finding]:
    where = f"{token.manufacturer_id.strip()} {token.model.strip()}"
    if mistyped:
        remedy = "find out who uses a wrong PIN, before it locks the token"
        yield Finding(Level.WARNING, kek_uri, "a wrong PIN was tried since the last good login", remedy)
    else:
        yield Finding(Level.OK, kek_uri, f"logged in to the token {token.label!r} ({where})")


def _kind(kek: Kek, algorithm: str, kek_uri: str) -> Iterator[Finding]:
    bits = size_of(kek)
    name = "AES" if kek.type is KeyType.AES else "RSA"
    what = f"{name} of {bits} bits, wraps with {algorithm}"
    if name == "RSA" and bits < MIN_RSA_BITS:
        yield Finding(Level.PROBLEM, kek_uri, what, f"make one of {MIN_RSA_BITS} bits or more")
    elif name == "AES" and bits < AES_BITS:
        yield Finding(Level.WARNING, kek_uri, what, "a DEK has 256 bits: make a KEK of 256 bits")
    elif algorithm == "RSA-OAEP":
        remedy = "the token offers no SHA-256 with OAEP: use an AES key"
        yield Finding(Level.WARNING, kek_uri, f"{what} and SHA-1", remedy)
    else:
        yield Finding(Level.OK, kek_uri, what)


def _protection(kek: Kek, kek_uri: str) -> Iterator[Finding]:
    extractable, sensitive = _flag(kek, Attribute.EXTRACTABLE), _flag(kek, Attribute.SENSITIVE)
    if extractable or sensitive is False:
        remedy = "make a new key with CKA_SENSITIVE and without CKA_EXTRACTABLE, and run cmk rewrap"
        yield Finding(Level.PROBLEM, kek_uri, "the key can be taken out of the token", remedy)
    elif _flag(kek, Attribute.NEVER_EXTRACTABLE) is False:
        remedy = "unless that is intended, rotate it in the token, and run cmk rewrap"
        yield Finding(Level.WARNING, kek_uri, "it was made outside the token, or was extractable", remedy)
    else:
        yield Finding(Level.OK, kek_uri, "sensitive and not extractable")


def _versions(newest: Kek, versions: list[Kek], kek_uri: str) -> Iterator[Finding]:
    if newest.made_here and not all(kek.made_here for kek in versions):
        remedy = "rotate with Pkcs11KeyProvider.rotate, or name a version with id= in the KEK's URI"
        what = "some versions were made by other tools: they never become the newest"
        yield Finding(Level.WARNING, kek_uri, what, remedy)
    else:
        yield Finding(Level.OK, kek_uri, f"versions: {len(versions)}, the newest is {newest.version}")


def size_of(kek: Kek) -> int:
    """Return a KEK's size in bits."""
    if kek.type is KeyType.AES:
        return 8 * int(kek.key[Attribute.VALUE_LEN])
    return int.from_bytes(kek.key[Attribute.MODULUS], "big").bit_length()


def _flag(kek: Kek, attribute: Attribute) -> bool | None:
    try:
        return bool(kek.key[attribute])
    except PKCS11Error:
        return None
