"""Exchange keys: read from what a vault gives, and refused where no import could follow."""

import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.byok import ExchangeKey
from tests.providers.byok.conftest import KID


def jwk(key: rsa.RSAPrivateKey, **changes: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    n, e = (
        urlsafe_b64encode(one.to_bytes((one.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
        for one in (numbers.n, numbers.e)
    )
    return {"kid": KID, "kty": "RSA-HSM", "key_ops": ["import"], "n": n, "e": e, **changes}


def pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exchange"


def test_a_jwk_is_read(vault_key: rsa.RSAPrivateKey, exchange: ExchangeKey, file: Path) -> None:
    file.write_text(json.dumps(jwk(vault_key)))
    assert ExchangeKey.read(file) == exchange == ExchangeKey.read(file, KID)


def test_what_azures_command_line_shows_is_read(
    vault_key: rsa.RSAPrivateKey, exchange: ExchangeKey, file: Path
) -> None:
    n = vault_key.public_key().public_numbers().n
    shown = jwk(vault_key, n=b64encode(n.to_bytes(256, "big")).decode())
    shown["keyOps"] = shown.pop("key_ops")
    file.write_text(json.dumps({"attributes": {"enabled": True}, "key": shown}))
    assert ExchangeKey.read(file) == exchange
    shown["keyOps"] = ["import", "wrapKey"]
    file.write_text(json.dumps({"key": shown}))
    with pytest.raises(ConfigurationError, match="import, wrapKey"):
        ExchangeKey.read(file)


def test_a_pem_file_is_read_with_the_identifier(
    vault_key: rsa.RSAPrivateKey, exchange: ExchangeKey, file: Path
) -> None:
    file.write_bytes(pem(vault_key))
    assert ExchangeKey.read(file, KID) == exchange
    with pytest.raises(ConfigurationError, match="does not hold the key's identifier"):
        ExchangeKey.read(file)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kty": "RSA"}, "is RSA: an exchange key is RSA-HSM, in hardware"),
        ({"key_ops": ["wrapKey", "unwrapKey"]}, "may be used for wrapKey, unwrapKey"),
        ({"key_ops": []}, "may be used for nothing"),
        ({"kid": KID.rpartition("/")[0]}, "names no version"),
        ({"kid": "clinic-kek"}, "is not a key identifier"),
        ({"kid": None}, "does not hold the key's identifier"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(
    vault_key: rsa.RSAPrivateKey, file: Path, changes: dict[str, Any], why: str
) -> None:
    file.write_text(json.dumps(jwk(vault_key, **changes)))
    with pytest.raises(ConfigurationError, match=why):
        ExchangeKey.read(file)


def test_a_key_of_another_size_or_kind_is_refused(file: Path) -> None:
    file.write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    with pytest.raises(ConfigurationError, match="has 1024 bits"):
        ExchangeKey.read(file, KID)
    file.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ConfigurationError, match="is not an RSA key"):
        ExchangeKey.read(file, KID)


def test_another_key_than_the_one_that_is_named_is_refused(vault_key: rsa.RSAPrivateKey, file: Path) -> None:
    file.write_text(json.dumps(jwk(vault_key)))
    with pytest.raises(ConfigurationError, match=r"is the key .*, not"):
        ExchangeKey.read(file, f"{KID}0")


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"key": null}', '{"kty": "EC"}', "-----BEGIN PUBLIC KEY-----\nAA\n"]
)
def test_a_file_that_holds_no_public_key_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="PEM"):
        ExchangeKey.read(file, KID)


def test_a_file_that_is_not_there_is_unavailable(file: Path) -> None:
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        ExchangeKey.read(file, KID)
