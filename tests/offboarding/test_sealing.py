"""Sealed files: opened by the private key alone, whole or not at all."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sqlalchemy_cmk import ConfigurationError, TamperedError
from sqlalchemy_cmk.offboarding import open_export
from sqlalchemy_cmk.offboarding.sealing import CHUNK, SealedWriter, recipient

MAGIC = b"sqlalchemy_cmk sealed export 1\n"
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7)


@pytest.fixture
def sealed(private_key: Path) -> bytes:
    """Two chunks and a bit, sealed."""
    return seal(private_key, bytes(2 * CHUNK + 7))


def seal(private_key: Path, data: bytes) -> bytes:
    parts: list[bytes] = []
    writer = SealedWriter(parts.append, recipient(private_key.with_name("public.pem").read_bytes()))
    for at in range(0, len(data), 50_000):
        writer.write(data[at : at + 50_000])
    writer.end()
    return b"".join(parts)


def opened(private_key: Path, sealed: bytes) -> bytes:
    source, target = private_key.with_name("sealed"), private_key.with_name("opened")
    source.write_bytes(sealed)
    target.unlink(missing_ok=True)
    open_export(source, target, private_key)
    return target.read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_any_size_opens_as_it_was(private_key: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert opened(private_key, seal(private_key, data)) == data


def test_it_opens_by_what_the_page_says_alone(private_key: Path, sealed: bytes) -> None:
    assert sealed.startswith(MAGIC)
    size = int.from_bytes(sealed[len(MAGIC) : len(MAGIC) + 2], "big")
    begin = len(MAGIC) + 2 + size
    key = load_pem_private_key(private_key.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    cipher = AESGCM(key.decrypt(sealed[len(MAGIC) + 2 : begin], OAEP(MGF1(SHA256()), SHA256(), None)))
    chunks = [sealed[at : at + 65552] for at in range(begin, len(sealed), 65552)]
    plain = b""
    for number, chunk in enumerate(chunks):
        last = b"\x01" if number == len(chunks) - 1 else b"\x00"
        plain += cipher.decrypt(number.to_bytes(11, "big") + last, chunk, sealed[:begin])
    assert plain == bytes(2 * CHUNK + 7)


def test_what_is_altered_cut_off_or_exchanged_leaves_no_file(private_key: Path, sealed: bytes) -> None:
    begin, full = len(sealed) - 2 * (CHUNK + 16) - 23, CHUNK + 16
    first, second, last = sealed[begin : begin + full], sealed[begin + full : -23], sealed[-23:]
    head = sealed[:begin]
    flips = (len(MAGIC) + 1, len(MAGIC) + 5, begin + 3, len(sealed) - 1)
    wrong = [sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :] for at in flips]
    wrong += [head + first + second, head + second + first + last, head + first + last, head, sealed[:-1]]
    wrong += [sealed + b"\0", sealed + last, head + last]
    for one in wrong:
        with pytest.raises(TamperedError, match="altered"):
            opened(private_key, one)
        assert not private_key.with_name("opened").exists()


def test_another_key_opens_nothing(private_key: Path, sealed: bytes) -> None:
    other = generate_private_key(65537, 2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private_key.write_bytes(pem)
    with pytest.raises(TamperedError, match="sealed for another key"):
        opened(private_key, sealed)


def test_what_is_no_such_key_or_no_sealed_file_is_refused(private_key: Path, sealed: bytes) -> None:
    weak = generate_private_key(65537, 1024)
    other = Ed25519PrivateKey.generate()
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    for pem in (b"no key", weak.public_key().public_bytes(*form), other.public_key().public_bytes(*form)):
        with pytest.raises(ConfigurationError, match="sealed for an RSA public key of 2048 bits"):
            recipient(pem)
    with pytest.raises(ConfigurationError, match="this is no sealed export"):
        opened(private_key, b"something else")
    private_key.write_bytes(b"no key")
    with pytest.raises(ConfigurationError, match="holds no RSA private key"):
        opened(private_key, sealed)
    private_key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        opened(private_key, sealed)
