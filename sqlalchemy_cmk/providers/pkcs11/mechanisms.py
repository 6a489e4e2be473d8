"""Algorithms that wrap and unwrap in a token, by the name that is recorded with each wrapping.

| name | mechanism | what is stored |
|---|---|---|
| ``AES-KW`` | ``CKM_AES_KEY_WRAP``, RFC 3394 | 40 bytes |
| ``AES-KWP`` | ``CKM_AES_KEY_WRAP_KWP``, RFC 5649 | 40 bytes |
| ``AES-GCM`` | ``CKM_AES_GCM``, NIST SP 800-38D | length of the nonce, nonce, ciphertext and tag |
| ``RSA-OAEP-SHA256`` | ``CKM_RSA_PKCS_OAEP``, RFC 8017, SHA-256 also in MGF1 | as long as the modulus |
| ``RSA-OAEP`` | the same with SHA-1 | as long as the modulus |
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass, PKCS11Error
from pkcs11.types import DecryptMixin, EncryptMixin, UnwrapMixin, WrapMixin

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.pkcs11.failures import is_connection
from sqlalchemy_cmk.providers.pkcs11.keys import Kek
from sqlalchemy_cmk.providers.pkcs11.profiles import Profile
from sqlalchemy_cmk.runtime.secret import Secret

NONCE_BYTES = 12
TAG_BYTES = 16

_PUBLIC = (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS)
# The DEK while it is in the token: an object of this session only, and readable, because it has to be read.
_READABLE = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}


class Algorithm(ABC):
    """Wraps a DEK with a KEK in a token, and unwraps it.

    Attributes:
        key_type: the type of the KEKs that it uses.
        number: the number of its mechanism.
        only_wraps: whether ``CKA_WRAP`` and ``CKA_UNWRAP`` are all that the KEK needs.
    """

    key_type: KeyType = KeyType.AES
    only_wraps = False

    def __init__(self, number: int, profile: Profile) -> None:
        self.number = number
        self._mechanism = mechanism_of(number)
        self._profile = profile

    @abstractmethod
    def may_use(self, kek: Kek) -> bool:
        """Return whether the key's permissions allow this algorithm."""

    @abstractmethod
    def wrap(self, kek: Kek, dek: Secret) -> bytes:
        """Return the DEK wrapped."""

    @abstractmethod
    def unwrap(self, kek: Kek, data: bytes) -> Secret:
        """Return what was wrapped, whatever its length."""

    def _unwrap_object(self, kek: Kek, data: bytes, parameter: Any = None) -> Secret:
        template: dict[Attribute, Any] = dict(_READABLE)
        if self._profile.unwrap_needs_value_len:
            template[Attribute.VALUE_LEN] = DEK_BYTES
        made = kek.key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            data,
            mechanism=self._mechanism,
            mechanism_param=parameter,
            template=template,
        )
        try:
            return Secret(made[Attribute.VALUE])
        finally:
            made.destroy()


class KeyWrap(Algorithm):
    """AES key wrap, with or without padding, in one of two ways that give the same bytes.

    If the key may wrap, the DEK becomes a session object, which is wrapped. If it may only encrypt, the DEK
    goes in and out as data: for tokens that do not allow readable objects.
    """

    only_wraps = True

    def may_use(self, kek: Kek) -> bool:
        """Return whether it has ``CKA_WRAP`` and ``CKA_UNWRAP``, or ``CKA_ENCRYPT`` and ``CKA_DECRYPT``."""
        return may_wrap(kek) or may_encrypt(kek)

    def wrap(self, kek: Kek, dek: Secret) -> bytes:
        """Wrap the DEK; it is an object in the token only while it is wrapped."""
        if not may_wrap(kek):
            return _whole(kek.key.encrypt(dek.reveal(), mechanism=self._mechanism))
        held = kek.key.session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.TOKEN: False,
                Attribute.VALUE: dek.reveal(),
                **_READABLE,
            }
        )
        try:
            return bytes(kek.key.wrap_key(held, mechanism=self._mechanism))
        finally:
            held.destroy()

    def unwrap(self, kek: Kek, data: bytes) -> Secret:
        """Unwrap into a session object and read it."""
        if not may_wrap(kek):
            return Secret(_whole(kek.key.decrypt(data, mechanism=self._mechanism)))
        return self._unwrap_object(kek, data)


class Gcm(Algorithm):
    """AES-GCM with a nonce from the operating system, or from the token if the token insists."""

    def may_use(self, kek: Kek) -> bool:
        """Return whether the key has ``CKA_ENCRYPT`` and ``CKA_DECRYPT``."""
        return may_encrypt(kek)

    def wrap(self, kek: Kek, dek: Secret) -> bytes:
        """Encrypt the DEK; the nonce is stored with it."""
        # Never a shared constant: a token that makes the nonce writes it into this object.
        nonce = bytes(bytearray(NONCE_BYTES)) if self._profile.gcm_iv_by_token else os.urandom(NONCE_BYTES)
        sealed = _whole(
            kek.key.encrypt(dek.reveal(), mechanism=self._mechanism, mechanism_param=GCMParams(nonce))
        )
        if self._profile.gcm_iv_by_token:
            nonce, sealed = _made_by_token(nonce, sealed)
        return bytes([len(nonce)]) + nonce + sealed

    def unwrap(self, kek: Kek, data: bytes) -> Secret:
        """Decrypt the DEK."""
        nonce, sealed = data[1 : 1 + data[0]] if data else b"", data[1 + data[0] :] if data else b""
        if len(nonce) != NONCE_BYTES or len(sealed) != DEK_BYTES + TAG_BYTES:
            raise TamperedError("it is not a nonce, a ciphertext and a tag")
        return Secret(
            _whole(kek.key.decrypt(sealed, mechanism=self._mechanism, mechanism_param=GCMParams(nonce)))
        )


class Oaep(Algorithm):
    """RSA-OAEP: this process wraps with the public key, and the token unwraps.

    The public numbers are read from the private key, so that no other public key can be substituted.
    """

    key_type = KeyType.RSA

    def __init__(
        self, number: int, profile: Profile, hash_: HashAlgorithm, token_hash: Mechanism, mgf: MGF
    ) -> None:
        super().__init__(number, profile)
        self._padding = padding.OAEP(padding.MGF1(hash_), hash_, None)
        self._parameter = (token_hash, mgf, None)

    def may_use(self, kek: Kek) -> bool:
        """Return whether the private key has ``CKA_DECRYPT`` or ``CKA_UNWRAP``."""
        return isinstance(kek.key, DecryptMixin | UnwrapMixin)

    def wrap(self, kek: Kek, dek: Secret) -> bytes:
        """Encrypt the DEK with the public key."""
        exponent, modulus = (int.from_bytes(kek.key[one]) for one in _PUBLIC)
        return RSAPublicNumbers(exponent, modulus).public_key().encrypt(dek.reveal(), self._padding)

    def unwrap(self, kek: Kek, data: bytes) -> Secret:
        """Decrypt the DEK, or unwrap it if the key may only unwrap."""
        if isinstance(kek.key, DecryptMixin):
            return Secret(
                _whole(kek.key.decrypt(data, mechanism=self._mechanism, mechanism_param=self._parameter))
            )
        return self._unwrap_object(kek, data, self._parameter)


def algorithms_of(profile: Profile) -> dict[str, Algorithm]:
    """Return every algorithm by its name, with the mechanism numbers of a token's make."""
    return {
        "AES-KW": KeyWrap(profile.mechanisms.get("AES-KW", Mechanism.AES_KEY_WRAP), profile),
        "AES-KWP": KeyWrap(profile.mechanisms.get("AES-KWP", Mechanism.AES_KEY_WRAP_KWP), profile),
        "AES-GCM": Gcm(profile.mechanisms.get("AES-GCM", Mechanism.AES_GCM), profile),
        "RSA-OAEP-SHA256": Oaep(
            profile.mechanisms.get("RSA-OAEP-SHA256", Mechanism.RSA_PKCS_OAEP),
            profile,
            SHA256(),
            Mechanism.SHA256,
            MGF.SHA256,
        ),
        "RSA-OAEP": Oaep(
            profile.mechanisms.get("RSA-OAEP", Mechanism.RSA_PKCS_OAEP),
            profile,
            SHA1(),  # noqa: S303
            Mechanism.SHA_1,
            MGF.SHA1,
        ),
    }


def may_wrap(kek: Kek) -> bool:
    """Return whether a key may wrap and unwrap."""
    return isinstance(kek.key, WrapMixin) and isinstance(kek.key, UnwrapMixin)


def may_encrypt(kek: Kek) -> bool:
    """Return whether a key may encrypt and decrypt."""
    return isinstance(kek.key, EncryptMixin) and isinstance(kek.key, DecryptMixin)


def opens_again(algorithm: Algorithm, kek: Kek) -> bool:
    """Return whether a random DEK is unwrapped as it was wrapped; raises if the session is lost.

    Tokens list mechanisms that they then refuse: SoftHSM answers ArgumentsBad to RSA-OAEP with SHA-256.
    """
    probe = Secret(os.urandom(DEK_BYTES))
    try:
        return algorithm.unwrap(kek, algorithm.wrap(kek, probe)) == probe
    except PKCS11Error as error:
        if is_connection(error):
            raise
        return False
    except (TamperedError, ValueError):
        return False


def mechanism_of(number: int) -> Mechanism:
    """Return python-pkcs11's member for a mechanism, or a new one for a vendor's own number.

    python-pkcs11 accepts only members of its enumeration.
    """
    try:
        return Mechanism(number)
    except ValueError:
        made = int.__new__(Mechanism, number)
        made._name_, made._value_ = f"0x{number:08X}", number
        return made


def _made_by_token(nonce: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    extra = len(sealed) - DEK_BYTES - TAG_BYTES
    if extra == NONCE_BYTES:
        return sealed[-extra:], sealed[:-extra]
    made = bytes(bytearray(nonce))
    if extra or not any(made):
        raise TamperedError("the token did not return the nonce that it made")
    return made, sealed


def _whole(result: bytes | Iterator[bytes]) -> bytes:
    """Return a result of python-pkcs11 as bytes; it may come in several pieces."""
    return result if isinstance(result, bytes) else b"".join(result)
