"""A certificate with its signature: written to a file, and verified with nothing but that file and a key.

The file is one line: the canonical form (RFC 8785) of the certificate and its signature. The signature is
Ed25519 (RFC 8032), over a line that says what is signed and the certificate's canonical form.
"""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from sqlalchemy_cmk.certificates.canonical import canonical
from sqlalchemy_cmk.certificates.document import FORMAT, Certificate
from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.keys.certificate_key import CertificateKey
from sqlalchemy_cmk.providers._files import create_private
from sqlalchemy_cmk.runtime.kinds import Kind, takes, text
from sqlalchemy_cmk.runtime.secret import Secret

ALGORITHM = "Ed25519"

_SIGNED = f"{FORMAT}\n".encode()
_KEY = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Signature:
    """The algorithm, and in hexadecimal the public key (32 bytes) and the signature (64 bytes)."""

    algorithm: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    """A certificate with its signature.

    Attributes:
        certificate: what is signed.
        signature: the signature.
    """

    certificate: Certificate
    signature: Signature

    def to_bytes(self) -> bytes:
        """Return what the file holds."""
        return canonical(asdict(self)) + b"\n"

    def write(self, path: str | Path) -> None:
        """Write it to a new file.

        Raises:
            ConfigurationError: there is such a file.
            KeyUnavailable: the system refuses to write it.
        """
        create_private(Path(path), Secret(self.to_bytes()), "the certificate")


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate that is as it was signed.

    Attributes:
        certificate: what it says.
        fingerprint: of the key that signed it; see :func:`fingerprint_of`.
        issuer_known: whether that is the key that was expected. Anyone can sign a certificate with a key of
            their own: without an expected key nothing says who issued it.
    """

    certificate: Certificate
    fingerprint: str
    issuer_known: bool


def signed(certificate: Certificate, key: CertificateKey) -> SignedCertificate:
    """Return a certificate with its signature.

    Raises:
        KeyUnavailable: the key cannot be read now.
        ConfigurationError: there is no such key where it is kept.
    """
    message = _SIGNED + canonical(asdict(certificate))
    made = Signature(ALGORITHM, _raw(key.public()), key.sign(message).hex())
    return SignedCertificate(certificate, made)


@takes(
    data=Kind((bytes, bytearray), "what the certificate's file holds, as bytes"),
    key=Kind((bytes, bytearray), "the issuer's public key in PEM, as bytes").or_none,
    fingerprint=text("64 hexadecimal digits, as cmk certificate public-key prints them").or_none,
)
def verify(data: bytes, *, key: bytes | None = None, fingerprint: str | None = None) -> Verified:
    """Verify a certificate; neither the database nor a keyring is needed.

    Args:
        data: what its file holds, unchanged.
        key: the public key that is expected to have signed it, in PEM; from the issuer, by another way than
            the certificate.
        fingerprint: that key's fingerprint, as ``cmk certificate public-key`` prints it.

    Raises:
        ConfigurationError: it is not a certificate, or the key is none.
        TamperedError: it was altered since it was signed, or another key has signed it.
    """
    raw, read = _read(data)
    signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(read.signature.key))
    try:
        if canonical(raw) + b"\n" != data:
            raise InvalidSignature
        signer.verify(bytes.fromhex(read.signature.value), _SIGNED + canonical(raw["certificate"]))
    except (InvalidSignature, ValueError):
        intact = False
    else:
        intact = True
    if not intact:
        raise TamperedError("the certificate was altered since it was signed: it says nothing")
    found = fingerprint_of(signer)
    expected = None if key is None else fingerprint_of(public_key(key))
    for one in (expected, None if fingerprint is None else _checked(fingerprint)):
        if one is not None and not hmac.compare_digest(one, found):
            raise TamperedError(f"another key has signed the certificate: its fingerprint is {found}")
    return Verified(read.certificate, found, key is not None or fingerprint is not None)


def public_key(pem: bytes) -> Ed25519PublicKey:
    """Return the public key of a PEM.

    Raises:
        ConfigurationError: it is none of Ed25519.
    """
    key: object = None
    with suppress(ValueError, UnsupportedAlgorithm):
        key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(
            "this is no Ed25519 public key in PEM: give what cmk certificate public-key printed"
        )
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key in PEM, to be given to those who verify certificates."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint_of(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo (RFC 8410), in hexadecimal.

    ``openssl pkey -pubin -in FILE -outform DER | sha256sum`` prints the same.
    """
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _raw(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _checked(fingerprint: str) -> str:
    plain = fingerprint.strip().lower().replace(":", "")
    if not _FINGERPRINT.fullmatch(plain):
        raise ConfigurationError(
            "a fingerprint is 64 hexadecimal digits, as cmk certificate public-key prints it"
        )
    return plain


def _read(data: bytes) -> tuple[dict[str, Any], SignedCertificate]:
    try:
        raw = msgspec.json.decode(data)
        read = msgspec.convert(raw, SignedCertificate, strict=True)
        signature = read.signature
        whole = (
            read.certificate.format == FORMAT
            and signature.algorithm == ALGORITHM
            and _KEY.fullmatch(signature.key)
            and _SIGNATURE.fullmatch(signature.value)
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = False
    if not whole:
        # What it holds is not quoted: it may be any file.
        raise ConfigurationError(
            "this is not a certificate: give the file that --certificate wrote, unchanged"
        )
    return raw, read
