"""Target keys from files: private ones only, of the kinds that a vault imports."""

from base64 import urlsafe_b64decode
from pathlib import Path
from secrets import token_bytes
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers.byok import TargetKey
from sqlalchemy_cmk.providers.byok.target import thumbprint
from sqlalchemy_cmk.runtime.secret import Secret

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PASSPHRASE = "correct horse"


def never() -> NoReturn:
    raise AssertionError("a passphrase was asked for")


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def private(
    key: Any,
    encoding: Encoding = Encoding.PEM,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(encoding, form, encryption or NoEncryption())  # type: ignore[no-any-return]


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize(("key", "kty"), [(RSA_KEY, "RSA-HSM"), (EC_KEY, "EC-HSM")], ids=["RSA", "EC"])
def test_a_private_key_becomes_pkcs8(
    tmp_path: Path, key: Any, kty: str, encoding: Encoding, form: PrivateFormat
) -> None:
    read = TargetKey.read(written(tmp_path, private(key, encoding, form)), False, never)
    assert read.kty == kty and read.thumbprint == thumbprint(key.public_key())
    assert read.plaintext.reveal() == private(key, Encoding.DER)


def test_the_bytes_of_a_symmetric_key_stay_as_they_are(tmp_path: Path) -> None:
    secret = token_bytes(32)
    read = TargetKey.read(written(tmp_path, secret), True, never)
    assert (read.kty, read.plaintext, read.thumbprint) == ("oct-HSM", Secret(secret), None)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_an_encrypted_key_asks_for_its_passphrase_once(tmp_path: Path, encoding: Encoding) -> None:
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    path = written(tmp_path, private(RSA_KEY, encoding, encryption=encryption))
    asked: list[str] = []

    def passphrase() -> str:
        asked.append("")
        return PASSPHRASE

    out: Any = load_der_private_key(TargetKey.read(path, False, passphrase).plaintext.reveal(), None)
    assert out.private_numbers() == RSA_KEY.private_numbers() and len(asked) == 1
    with pytest.raises(ConfigurationError, match="passphrase is wrong") as caught:
        TargetKey.read(path, False, lambda: "wrong one")
    assert "wrong one" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigurationError, match="chmod 600"):
        TargetKey.read(written(tmp_path, private(RSA_KEY), mode), False, never)


@pytest.mark.parametrize(
    ("content", "symmetric"),
    [
        (token_bytes(31), True),
        (token_bytes(64), True),
        (private(rsa.generate_private_key(65537, 1024)), False),
        (private(ec.generate_private_key(ec.SECP224R1())), False),
        (private(ed25519.Ed25519PrivateKey.generate()), False),
        (private(RSA_KEY), True),
        (token_bytes(32), False),
        (b"", False),
    ],
    ids=["31", "64", "RSA-1024", "P-224", "Ed25519", "PEM-as-bytes", "bytes-as-PEM", "empty"],
)
def test_what_no_vault_imports_is_refused(tmp_path: Path, content: bytes, symmetric: bool) -> None:
    with pytest.raises(ConfigurationError, match=r"a vault imports|holds no private key"):
        TargetKey.read(written(tmp_path, content), symmetric, never)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no file"):
        TargetKey.read(tmp_path / "key", False, never)


def test_a_target_key_does_not_show_itself() -> None:
    secret = token_bytes(32)
    shown = repr(TargetKey.of(Secret(secret), "a test"))
    assert repr(secret) not in shown and secret.hex() not in shown


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    # RFC 7638, section 3.1.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXj"
        "BZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqz"
        "s8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ"
        "-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )

    numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(urlsafe_b64decode(n + "=="), "big"))
    assert thumbprint(numbers.public_key()) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
