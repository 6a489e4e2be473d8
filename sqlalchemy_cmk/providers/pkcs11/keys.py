"""KEK objects in a token: how their versions are found, ordered and made.

A version is named by its ``CKA_ID`` in hexadecimal. The versions of one KEK share its label.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier
from sqlalchemy_cmk.providers.uris import escaped

_MADE_HERE = b"cmk1"
_MADE_LENGTH = 16
_CLASSES = {"secret-key": ObjectClass.SECRET_KEY, "private": ObjectClass.PRIVATE_KEY}
_KEK_TYPES = {ObjectClass.SECRET_KEY: KeyType.AES, ObjectClass.PRIVATE_KEY: KeyType.RSA}

AES_BITS = 256
RSA_BITS = 2048
WRAPS = MechanismFlag.WRAP | MechanismFlag.UNWRAP
CIPHERS = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
SIGNS = MechanismFlag.SIGN | MechanismFlag.VERIFY
_HIDDEN = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


@dataclass(frozen=True, slots=True)
class Kek:
    """A version of a KEK: an AES key, or the private half of an RSA key.

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
        """Whether this library chose the id, which then holds the time it was made."""
        return self.id.startswith(_MADE_HERE) and len(self.id) == _MADE_LENGTH


def find_version(session: Any, identifier: KekIdentifier, version: str, kek_uri: str) -> Kek:
    """Return one version of a KEK.

    Raises:
        KeyRevoked: the session does not see it.
        ConfigurationError: there are several.
    """
    try:
        id_ = bytes.fromhex(version)
    except ValueError:
        id_ = b""
    found = []
    if id_ and identifier.id in (None, id_):
        found = list(_find(session, identifier, id_))
    if not found:
        raise KeyRevoked(f"{kek_uri}: its version {escaped(version)} is not in the token any more")
    return _only(found, kek_uri)


def find_newest(session: Any, identifier: KekIdentifier, kek_uri: str) -> Kek:
    """Return the version that wraps.

    If there are versions with an id that this library chose, it is the latest of them; otherwise the one
    whose id is the highest number. A URI with ``id=`` names exactly that version.

    Raises:
        KeyRevoked: the session sees no version.
        ConfigurationError: the newest has no ``CKA_ID``, or several keys have its id.
    """
    found = find_versions(session, identifier)
    if not found:
        raise KeyRevoked(f"{kek_uri}: there is no such key in the token")
    newest = found[-1]
    if not newest.id:
        raise ConfigurationError(f"{kek_uri}: the key has no CKA_ID, which names its version: set one")
    return _only([kek for kek in found if kek.id == newest.id], kek_uri)


def find_versions(session: Any, identifier: KekIdentifier) -> list[Kek]:
    """Return every version of a KEK, the newest last."""
    return sorted(_find(session, identifier, identifier.id), key=lambda kek: (kek.made_here, _number(kek)))


def make_aes(
    session: Any, identifier: KekIdentifier, like: Kek | None, after: Sequence[Kek], *, only_wraps: bool
) -> None:
    """Make an AES key in the token: sensitive, not extractable.

    Args:
        session: a session that may write.
        identifier: the KEK.
        like: the version whose size it has; ``None`` for 256 bits.
        after: the existing versions: the new id sorts after all of them.
        only_wraps: whether the key may only wrap and unwrap, and not encrypt and decrypt.
    """
    uses = WRAPS if only_wraps else WRAPS | CIPHERS
    bits = AES_BITS if like is None else 8 * int(like.key[Attribute.VALUE_LEN])
    session.generate_key(KeyType.AES, bits, template=_HIDDEN, **_named(identifier, after, uses))


def make_rsa(
    session: Any, identifier: KekIdentifier, like: Kek | None, after: Sequence[Kek], *, also_signs: bool
) -> None:
    """Make an RSA key pair in the token, as :func:`make_aes` does an AES key.

    Args:
        session, identifier, after: as there.
        like: the version whose size it has; ``None`` for 2048 bits.
        also_signs: whether the token makes no key that may not sign; it makes none that may unwrap then.
    """
    uses = CIPHERS | SIGNS if also_signs else CIPHERS | WRAPS
    bits = RSA_BITS if like is None else 8 * len(like.key[Attribute.MODULUS])
    session.generate_keypair(KeyType.RSA, bits, private_template=_HIDDEN, **_named(identifier, after, uses))


def _named(identifier: KekIdentifier, after: Sequence[Kek], uses: MechanismFlag) -> dict[str, Any]:
    return {"id": _new_id(after), "label": identifier.label, "store": True, "capabilities": uses}


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
            "give each its own id"
        )
    return found[0]


def _number(kek: Kek) -> int:
    return int.from_bytes(kek.id, "big")


def _new_id(after: Sequence[Kek]) -> bytes:
    # Milliseconds since 1970, later than every other version's, then random bytes: a key that is made again
    # must not have the id of one that was lost.
    made = [int.from_bytes(kek.id[4:10], "big") for kek in after if kek.made_here]
    now = max([int(time.time() * 1000), *(time_ + 1 for time_ in made)])
    return _MADE_HERE + now.to_bytes(6, "big") + secrets.token_bytes(6)
