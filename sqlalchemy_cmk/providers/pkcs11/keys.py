"""KEK objects in a token, their versions, and which of them is the newest.

A version is a ``CKA_ID``, written in hexadecimal. Versions of one KEK share its label.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier

_MADE_HERE = b"cmk1"
_MADE_LENGTH = 16
_CLASSES = {"secret-key": ObjectClass.SECRET_KEY, "private": ObjectClass.PRIVATE_KEY}
_KEK_TYPES = {ObjectClass.SECRET_KEY: KeyType.AES, ObjectClass.PRIVATE_KEY: KeyType.RSA}

_HIDDEN = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


@dataclass(frozen=True, slots=True)
class Kek:
    """One version of a KEK: an AES key, or the private half of an RSA key.

    Attributes:
        key: python-pkcs11's object.
        type: AES or RSA.
        id: its ``CKA_ID``.
    """

    key: Any
    type: KeyType
    id: bytes

    @property
    def version(self) -> str:
        """The version's name."""
        return self.id.hex()

    @property
    def made_here(self) -> bool:
        """Whether this library chose the id, which then tells when."""
        return self.id.startswith(_MADE_HERE) and len(self.id) == _MADE_LENGTH


def find_version(session: Any, identifier: KekIdentifier, version: str, kek_uri: str) -> Kek:
    """Return one version of a KEK.

    Raises:
        KeyRevoked: this session does not see it.
        ConfigurationError: there are two.
    """
    try:
        id_ = bytes.fromhex(version)
    except ValueError:
        id_ = b""
    found = []
    if id_ and identifier.id in (None, id_):
        found = list(_find(session, identifier, id_))
    if not found:
        raise KeyRevoked(f"{kek_uri}: its version {version} is not in the token any more")
    return _only(found, kek_uri)


def find_newest(session: Any, identifier: KekIdentifier, kek_uri: str) -> Kek:
    """Return the version that wraps.

    Ids that this library made come first, the latest before all; of other ids, the highest number. A URI
    with ``id=`` names one version and no other.

    Raises:
        KeyRevoked: this session sees none.
        ConfigurationError: the newest has no ``CKA_ID``, or there are two of it.
    """
    found = find_versions(session, identifier)
    if not found:
        raise KeyRevoked(f"{kek_uri}: there is no such key in the token")
    newest = found[-1]
    if not newest.id:
        raise ConfigurationError(f"{kek_uri}: the key has no CKA_ID, which names its version: give it one")
    return _only([kek for kek in found if kek.id == newest.id], kek_uri)


def find_versions(session: Any, identifier: KekIdentifier) -> list[Kek]:
    """Return every version of a KEK, the newest last."""
    return sorted(_find(session, identifier, identifier.id), key=lambda kek: (kek.made_here, _number(kek)))


def make_version(
    session: Any, identifier: KekIdentifier, like: Kek | None, after: list[Kek], *, only_wraps: bool
) -> None:
    """Make a new version in the token: sensitive, not extractable, of the kind and size of another.

    Args:
        session: a session that may write.
        identifier: the KEK.
        like: the version after which it is made; ``None`` for a first one, of AES with 256 bits.
        after: the versions that are there: the new id sorts behind all of them.
        only_wraps: whether the key may wrap and unwrap only, or encrypt and decrypt as well.
    """
    uses = MechanismFlag.WRAP | MechanismFlag.UNWRAP
    if not only_wraps:
        uses |= MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
    common = {"id": _new_id(after), "label": identifier.label, "store": True, "capabilities": uses}
    if like is None or like.type is KeyType.AES:
        bits = 256 if like is None else 8 * int(like.key[Attribute.VALUE_LEN])
        session.generate_key(KeyType.AES, bits, template=_HIDDEN, **common)
    else:
        bits = 8 * len(like.key[Attribute.MODULUS])
        session.generate_keypair(KeyType.RSA, bits, private_template=_HIDDEN, **common)


def _find(session: Any, identifier: KekIdentifier, id_: bytes | None) -> Iterator[Kek]:
    for name, class_ in _CLASSES.items():
        if identifier.type not in (None, name):
            continue
        type_ = _KEK_TYPES[class_]
        template: dict[Attribute, Any] = {
            Attribute.CLASS: class_,
            Attribute.KEY_TYPE: type_,
            Attribute.TOKEN: True,
        }
        if identifier.label is not None:
            template[Attribute.LABEL] = identifier.label
        if id_ is not None:
            template[Attribute.ID] = id_
        for key in list(session.get_objects(template)):
            yield Kek(key, type_, id_ if id_ is not None else _id_of(key))


def _id_of(key: Any) -> bytes:
    try:
        return bytes(key[Attribute.ID])
    except PKCS11Error:
        return b""


def _only(found: list[Kek], kek_uri: str) -> Kek:
    if len(found) > 1:
        raise ConfigurationError(
            f"{kek_uri}: {len(found)} keys in the token have this name and the id {found[0].version}: "
            "give each an id of its own"
        )
    return found[0]


def _number(kek: Kek) -> int:
    return int.from_bytes(kek.id, "big")


def _new_id(after: list[Kek]) -> bytes:
    # Milliseconds since 1970, never before another version's; then chance: a key that is made anew must
    # not have the id of one that is lost.
    made = [int.from_bytes(kek.id[4:10], "big") for kek in after if kek.made_here]
    now = max([int(time.time() * 1000), *(time_ + 1 for time_ in made)])
    return _MADE_HERE + now.to_bytes(6, "big") + secrets.token_bytes(6)
