"""Wrapping and encryption with the emulated keys."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sqlalchemy_cmk.testing.errors import ServiceError, bad_parameter
from sqlalchemy_cmk.testing.material import OAEP_SHA1, Material
from sqlalchemy_cmk.testing.messages import decode, encode

RSA_PADDINGS: dict[str, padding.AsymmetricPadding] = {
    "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA-OAEP": OAEP_SHA1,
    "RSA1_5": padding.PKCS1v15(),
}
OPENING = frozenset({"unwrapKey", "decrypt"})
NONCE, TAG = 12, 16


def run(operation: str, material: Material, body: Mapping[str, Any], managed_hsm: bool) -> dict[str, str]:
    """Answer ``wrapKey``, ``unwrapKey``, ``encrypt`` or ``decrypt``.

    Returns:
        The members of the answer, without the key identifier.
    """
    algorithm = body.get("alg")
    value = _value(body, managed_hsm)
    try:
        if isinstance(material.secret, rsa.RSAPrivateKey):
            return {"value": encode(_rsa(operation, material.secret, algorithm, value))}
        if isinstance(material.secret, ec.EllipticCurvePrivateKey):
            raise _unsupported(algorithm, material.kty)
        if operation in ("wrapKey", "unwrapKey"):
            return {"value": encode(_key_wrap(operation, material.secret, algorithm, value))}
        return _gcm(operation, material.secret, body, value)
    except (ValueError, InvalidTag, InvalidUnwrap) as error:
        raise bad_parameter("The parameter is incorrect.\r\n") from error


def _value(body: Mapping[str, Any], managed_hsm: bool) -> bytes:
    text = body.get("value")
    try:
        # A Managed HSM has been seen to read padding as zeros: 33 bytes for a DEK of 32.
        if managed_hsm and isinstance(text, str) and re.fullmatch(r"[\w-]+={1,2}", text):
            return urlsafe_b64decode(text.replace("=", "A"))
        return decode(text)
    except ValueError as error:
        message = "Content of 'value' is not base64url.\r\nProperty 'value' is required.\r\n"
        raise bad_parameter(message) from error


def _rsa(operation: str, key: rsa.RSAPrivateKey, algorithm: object, value: bytes) -> bytes:
    if not isinstance(algorithm, str) or algorithm not in RSA_PADDINGS:
        raise _unsupported(algorithm, "RSA")
    if operation in OPENING:
        return key.decrypt(value, RSA_PADDINGS[algorithm])
    return key.public_key().encrypt(value, RSA_PADDINGS[algorithm])


def _key_wrap(operation: str, key: bytes, algorithm: object, value: bytes) -> bytes:
    if algorithm != f"A{len(key) * 8}KW":
        raise _unsupported(algorithm, f"oct-HSM of {len(key) * 8} bits")
    return aes_key_unwrap(key, value) if operation in OPENING else aes_key_wrap(key, value)


def _gcm(operation: str, key: bytes, body: Mapping[str, Any], value: bytes) -> dict[str, str]:
    if body.get("alg") != f"A{len(key) * 8}GCM":
        raise _unsupported(body.get("alg"), f"oct-HSM of {len(key) * 8} bits")
    aad = decode(body.get("aad") or "")
    if operation in OPENING:
        sealed = value + decode(body.get("tag"))
        return {"value": encode(AESGCM(key).decrypt(decode(body.get("iv")), sealed, aad))}
    nonce = secrets.token_bytes(NONCE)
    sealed = AESGCM(key).encrypt(nonce, value, aad)
    made = {"value": encode(sealed[:-TAG]), "iv": encode(nonce), "tag": encode(sealed[-TAG:])}
    return made | ({"aad": encode(aad)} if aad else {})


def _unsupported(algorithm: object, kind: str) -> ServiceError:
    return bad_parameter(f"Algorithm {algorithm} is not supported for a key of type {kind}.")
