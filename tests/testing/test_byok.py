"""Bring your own key: a transfer blob, wrapped here as an HSM's tool would, opens in the vault."""

from __future__ import annotations

import json
from base64 import b64encode
from secrets import token_bytes
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.keys import JsonWebKey, KeyVaultKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sqlalchemy_cmk.testing.messages import encode
from tests.testing.conftest import DEK, Client, opened, problem

TARGET = rsa.generate_private_key(65537, 2048)
PKCS8 = TARGET.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def exchange_key(client: Client, size: int = 2048) -> KeyVaultKey:
    return client.create_rsa_key("exchange", size=size, hardware_protected=True, key_operations=["import"])


def blob(exchange: KeyVaultKey, plaintext: bytes, scheme: Any = SHA1, **header: str) -> bytes:
    public = rsa.RSAPublicNumbers(
        int.from_bytes(exchange.key.e, "big"), int.from_bytes(exchange.key.n, "big")
    ).public_key()
    inner = token_bytes(32)
    wrapped = public.encrypt(inner, scheme) + aes_key_wrap_with_padding(inner, plaintext)
    named = {"kid": exchange.id, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP", **header}
    made = {
        "schema_version": "1.0.0",
        "header": named,
        "ciphertext": encode(wrapped),
        "generator": "test",
    }
    return json.dumps(made).encode()


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_an_rsa_key_arrives_whole(admin: Client, size: int) -> None:
    transfer = blob(exchange_key(admin, size), PKCS8)
    jwk = JsonWebKey(kty="RSA-HSM", t=transfer, key_ops=["wrapKey", "unwrapKey"])
    imported = admin.import_key("kek", jwk, hardware_protected=True)
    assert imported.key_type == "RSA-HSM" and imported.key_operations == ["wrapKey", "unwrapKey"]
    assert int.from_bytes(imported.key.n, "big") == TARGET.public_key().public_numbers().n
    assert TARGET.decrypt(admin.wrap("kek", "RSA-OAEP"), SHA1) == DEK


def test_a_symmetric_key_arrives_in_a_managed_hsm(hsm_admin: Client) -> None:
    secret = token_bytes(32)
    transfer = blob(exchange_key(hsm_admin), secret)
    hsm_admin.import_key("kek", JsonWebKey(kty="oct-HSM", t=transfer), hardware_protected=True)
    assert hsm_admin.wrap("kek", "A256KW") == aes_key_wrap(secret, DEK)


def test_the_blob_may_also_be_in_base64(admin: Client) -> None:
    transfer = b64encode(blob(exchange_key(admin), PKCS8)).decode()
    body = {"key": {"kty": "RSA-HSM", "key_hsm": transfer}}
    answer = admin.send_request(HttpRequest("PUT", "keys/kek", json=body))
    assert answer.status_code == 200
    assert opened(admin.unwrap("kek", TARGET.public_key().encrypt(DEK, SHA1), "RSA-OAEP")) == DEK


def test_an_exchange_key_is_for_nothing_but_the_exchange(admin: Client) -> None:
    exchange_key(admin)
    answer = admin.use("wrapkey", "exchange", "RSA-OAEP", DEK)
    assert problem(answer) == (403, "Forbidden", "KeyOperationForbidden")
    for options in ({"hardware_protected": False}, {"key_operations": ["import", "wrapKey"]}):
        settings: Any = {"hardware_protected": True, "key_operations": ["import"], **options}
        with pytest.raises(HttpResponseError) as caught:
            admin.create_rsa_key("other", **settings)
        assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")


@pytest.mark.parametrize("damage", ["plain", "cut", "oaep", "kty", "enc", "json", "version"])
def test_a_blob_that_does_not_fit_is_refused(admin: Client, damage: str) -> None:
    exchange = exchange_key(admin)
    sha256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    transfer = {
        "plain": lambda: blob(exchange, token_bytes(64)),
        "cut": lambda: blob(exchange, PKCS8).replace(b'", "generator"', b'AA", "generator"'),
        "oaep": lambda: blob(exchange, PKCS8, sha256),
        "kty": lambda: blob(exchange, PKCS8),
        "enc": lambda: blob(exchange, PKCS8, enc="A256KW"),
        "json": lambda: b"not json",
        "version": lambda: blob(exchange, PKCS8, kid=exchange.id.rpartition("/")[0]),
    }[damage]()
    kty = "EC-HSM" if damage == "kty" else "RSA-HSM"
    with pytest.raises(HttpResponseError) as caught:
        admin.import_key("kek", JsonWebKey(kty=kty, t=transfer))
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")


def test_a_blob_for_a_key_that_is_no_exchange_key_is_refused(admin: Client) -> None:
    transfer = blob(admin.create_rsa_key("plain", hardware_protected=True), PKCS8)
    with pytest.raises(HttpResponseError) as caught:
        admin.import_key("kek", JsonWebKey(kty="RSA-HSM", t=transfer))
    assert (caught.value.status_code, caught.value.error.innererror["code"]) == (403, "KeyOperationForbidden")


def test_a_key_on_a_curve_is_kept_and_shown_but_does_not_wrap(admin: Client) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    jwk = JsonWebKey(
        kty="EC-HSM", crv="P-256", t=blob(exchange_key(admin), plain), key_ops=["sign", "wrapKey"]
    )
    imported = admin.import_key("signer", jwk, hardware_protected=True)
    numbers = key.public_key().public_numbers()
    assert int.from_bytes(imported.key.x, "big") == numbers.x
    assert int.from_bytes(imported.key.y, "big") == numbers.y
    answer = admin.use("wrapkey", "signer", "RSA-OAEP-256", DEK)
    assert problem(answer)[:2] == (400, "BadParameter")
    with pytest.raises(HttpResponseError) as caught:
        admin.create_ec_key("other", hardware_protected=True)
    assert caught.value.status_code == 400
