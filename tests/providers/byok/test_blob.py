"""Transfer blobs: what is in them, that the vault's two steps open them, and that damage is seen."""

import json
from secrets import token_bytes
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.providers.byok import ExchangeKey, TargetKey, TransferBlob
from sqlalchemy_cmk.providers.byok.blob import generator
from sqlalchemy_cmk.runtime.secret import Secret
from tests.providers.byok.conftest import KID, opened


def blob(exchange: ExchangeKey, plaintext: Secret) -> bytes:
    return TransferBlob(exchange.kid, exchange.wrap(plaintext), generator("a test")).dump()


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA", "EC"],
)
def test_a_private_key_comes_out_as_pkcs8(
    vault_key: rsa.RSAPrivateKey, exchange: ExchangeKey, key: Any
) -> None:
    raw = blob(exchange, TargetKey.of(key, "a test").plaintext)
    out = load_der_private_key(opened(vault_key, TransferBlob.load(raw).ciphertext), None)
    assert out.private_numbers() == key.private_numbers()  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_symmetric_key_comes_out_as_its_bytes(
    vault_key: rsa.RSAPrivateKey, exchange: ExchangeKey, size: int
) -> None:
    secret = Secret(token_bytes(size))
    raw = blob(exchange, TargetKey.of(secret, "a test").plaintext)
    assert opened(vault_key, TransferBlob.load(raw).ciphertext) == secret.reveal()


def test_a_blob_has_the_members_of_the_specification(exchange: ExchangeKey) -> None:
    made = json.loads(blob(exchange, Secret(bytes(32))))
    assert made.pop("ciphertext").replace("-", "").replace("_", "").isalnum()
    assert made.pop("generator").startswith("sqlalchemy-cmk ")
    header = {"kid": KID, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}
    assert made == {"schema_version": "1.0.0", "header": header}


def test_each_blob_has_an_aes_key_of_its_own(exchange: ExchangeKey) -> None:
    one, other = exchange.wrap(Secret(bytes(32))), exchange.wrap(Secret(bytes(32)))
    assert one[:256] != other[:256] and one[256:] != other[256:]


def test_a_blob_of_an_hsms_maker_may_tell_more(exchange: ExchangeKey) -> None:
    made = json.loads(blob(exchange, Secret(bytes(32))))
    made["header"]["made"] = "elsewhere"
    assert TransferBlob.load(json.dumps({**made, "note": 1}).encode()).kid == KID


@pytest.mark.parametrize(
    "damage",
    [
        lambda made: b"not JSON",
        lambda made: b"[]",
        lambda made: json.dumps({**made, "schema_version": "2.0.0"}).encode(),
        lambda made: json.dumps({**made, "header": {**made["header"], "enc": "A256KW"}}).encode(),
        lambda made: json.dumps({**made, "header": {"kid": KID, "alg": "RSA1_5"}}).encode(),
        lambda made: json.dumps({**made, "ciphertext": made["ciphertext"][:-3] + "*"}).encode(),
        lambda made: json.dumps({**made, "ciphertext": made["ciphertext"][:-4]}).encode(),
        lambda made: json.dumps({**made, "ciphertext": ""}).encode(),
    ],
    ids=["text", "list", "version", "enc", "alg", "characters", "cut", "empty"],
)
def test_a_damaged_blob_is_refused(exchange: ExchangeKey, damage: Any) -> None:
    raw = damage(json.loads(blob(exchange, Secret(bytes(32)))))
    with pytest.raises(TamperedError, match="blob"):
        TransferBlob.load(raw).check(exchange.wrapped_bytes)
