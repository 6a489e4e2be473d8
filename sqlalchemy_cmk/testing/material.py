"""Key material: made, imported as a JWK or as a BYOK transfer blob, and shown as a public JWK."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key

from sqlalchemy_cmk.testing.errors import bad_parameter
from sqlalchemy_cmk.testing.messages import decode, decode_number, encode, encode_number
from sqlalchemy_cmk.testing.primes import rsa_key

RSA_SIZES = (2048, 3072, 4096)
OCT_SIZES = (128, 192, 256)
RSA_OPS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
EC_OPS = ("sign", "verify")
OCT_OPS = ("encrypt", "decrypt", "wrapKey", "unwrapKey")
CURVES = {"secp256r1": "P-256", "secp256k1": "P-256K", "secp384r1": "P-384", "secp521r1": "P-521"}
OAEP_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303  BYOK prescribes it


@dataclass(frozen=True, repr=False)
class Material:
    """The secret part of a key version: a private key, or the bytes of a symmetric key."""

    kty: str
    secret: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes

    @property
    def size(self) -> int:
        """Its length in bits."""
        return len(self.secret) * 8 if isinstance(self.secret, bytes) else self.secret.key_size

    def public(self) -> dict[str, Any]:
        """Return the public members of its JWK; a symmetric key has none."""
        if isinstance(self.secret, bytes):
            return {"kty": self.kty}
        if isinstance(self.secret, ec.EllipticCurvePrivateKey):
            return {"kty": self.kty, **_point(self.secret)}
        numbers = self.secret.public_key().public_numbers()
        return {"kty": self.kty, "n": encode_number(numbers.n), "e": encode_number(numbers.e)}


def default_ops(kty: str) -> list[str]:
    """Return the default ``key_ops`` of a key type."""
    return list({"oct": OCT_OPS, "EC-": EC_OPS}.get(kty[:3], RSA_OPS))


@dataclass(frozen=True)
class KeyTypes:
    """The key types that a vault supports, which depend on its kind."""

    managed_hsm: bool
    premium: bool

    def check(self, kty: object, brought: bool = False) -> str:
        """Return the key type, or refuse it; ``brought`` says whether a transfer blob holds the key."""
        allowed = ["RSA-HSM", "oct-HSM"] if self.managed_hsm else ["RSA"] + ["RSA-HSM"] * self.premium
        if brought and "RSA-HSM" in allowed:
            allowed.append("EC-HSM")
        if isinstance(kty, str) and kty in allowed:
            return kty
        raise bad_parameter(f"Key type {kty} is not supported here; supported are: {', '.join(allowed)}.")


def make(kty: str, size: int | None) -> Material:
    """Make new key material."""
    sizes, default = (OCT_SIZES, 256) if kty == "oct-HSM" else (RSA_SIZES, 2048)
    size = default if size is None else size
    if size not in sizes:
        raise bad_parameter(f"Key size {size} is not supported for {kty}.")
    return Material(kty, secrets.token_bytes(size // 8) if kty == "oct-HSM" else rsa_key(size))


def from_jwk(jwk: Mapping[str, Any], kty: str) -> Material:
    """Read an imported JWK that holds the key in the clear."""
    try:
        if kty == "oct-HSM":
            return checked(kty, decode(jwk["k"]))
        n, e, d, p, q = (decode_number(jwk[name]) for name in ("n", "e", "d", "p", "q"))
        numbers = rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=rsa.rsa_crt_dmp1(d, p),
            dmq1=rsa.rsa_crt_dmq1(d, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=rsa.RSAPublicNumbers(e, n),
        )
        return checked(kty, numbers.private_key())
    except (KeyError, ValueError) as error:
        raise bad_parameter("The JSON web key is not valid.") from error


def from_transfer_blob(
    text: object, kty: str, curve: object, kek: Callable[[str], rsa.RSAPrivateKey]
) -> Material:
    """Unwrap a BYOK transfer blob, an imported JWK's ``key_hsm``.

    Args:
        text: the blob in base64 or base64url.
        kty: the key type that the JWK names.
        curve: the curve that it names.
        kek: finds the key exchange key for a key identifier.
    """
    try:
        blob = json.loads(_any_base64(text))
        header = blob["header"]
        if (header["alg"], header["enc"]) != ("dir", "CKM_RSA_AES_KEY_WRAP"):
            raise ValueError("unknown wrapping")
        wrapped, exchange = decode(blob["ciphertext"]), kek(header["kid"])
        cut = exchange.key_size // 8
        inner = exchange.decrypt(wrapped[:cut], OAEP_SHA1)
        plain = aes_key_unwrap_with_padding(inner, wrapped[cut:])
        made = checked(kty, plain if kty == "oct-HSM" else load_der_private_key(plain, None))
        if made.public().get("crv") != (curve if kty == "EC-HSM" else None):
            raise ValueError("another curve")
        return made
    except (KeyError, TypeError, ValueError, InvalidUnwrap) as error:
        raise bad_parameter("The transfer blob cannot be unwrapped by the key that it names.") from error


def checked(kty: str, secret: object) -> Material:
    """Return key material after checking that it fits its type.

    Raises:
        ValueError: it does not.
    """
    if isinstance(secret, rsa.RSAPrivateKey) and secret.key_size in RSA_SIZES and kty.startswith("RSA"):
        return Material(kty, secret)
    if isinstance(secret, ec.EllipticCurvePrivateKey) and secret.curve.name in CURVES and kty == "EC-HSM":
        return Material(kty, secret)
    if isinstance(secret, bytes) and len(secret) * 8 in OCT_SIZES and kty == "oct-HSM":
        return Material(kty, secret)
    raise ValueError(f"this is not a key of type {kty}, or it has an unusual length")


def _point(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    x, y = (encode(one.to_bytes(size, "big")) for one in (numbers.x, numbers.y))
    return {"crv": CURVES[key.curve.name], "x": x, "y": y}


def _any_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not base64")
    if "+" in text or "/" in text or "=" in text:
        return b64decode(text.replace("-", "+").replace("_", "/") + "==")
    return decode(text)
