"""Wrapping and encryption: computed with the real keys, refused as the service refuses."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from sqlalchemy_cmk.testing.messages import encode
from tests.testing.conftest import DEK, Client, opened, problem

PADDINGS: dict[str, Any] = {
    "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA-OAEP": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSA1_5": padding.PKCS1v15(),
}
KEY = rsa.generate_private_key(65537, 2048)
HOUR = 3600


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_wrapping_is_what_the_algorithm_says(admin: Client, vault: Vault, algorithm: str) -> None:
    vault.import_key("kek", KEY)
    assert KEY.decrypt(admin.wrap("kek", algorithm), PADDINGS[algorithm]) == DEK
    elsewhere = KEY.public_key().encrypt(DEK, PADDINGS[algorithm])
    assert opened(admin.unwrap("kek", elsewhere, algorithm)) == DEK
    sealed = opened(admin.use("encrypt", "kek", algorithm, b"short"))
    assert opened(admin.use("decrypt", "kek", algorithm, sealed)) == b"short"


def test_the_answer_names_the_version_that_did_the_work(app: Client, vault: Vault) -> None:
    old, new = vault.create_key("kek"), vault.create_key("kek")
    for path in ("kek", f"kek/{new.version}", "kek/"):
        assert app.use("wrapkey", path, "RSA-OAEP-256", DEK).json()["kid"] == new.kid
    assert app.use("wrapkey", f"kek/{old.version}", "RSA-OAEP-256", DEK).json()["kid"] == old.kid


def test_another_version_does_not_open_what_a_version_wrapped(app: Client, vault: Vault) -> None:
    old = vault.create_key("kek")
    wrapped = app.wrap("kek")
    vault.rotate_key("kek")
    assert problem(app.unwrap("kek", wrapped)) == (400, "BadParameter", None)
    assert opened(app.unwrap(f"kek/{old.version}", wrapped)) == DEK


@pytest.mark.parametrize("algorithm", ["RSA-OAEP-256", "RSA-OAEP"])
def test_a_damaged_wrapping_is_refused(app: Client, vault: Vault, algorithm: str) -> None:
    vault.create_key("kek")
    wrapped = app.wrap("kek", algorithm)
    flipped = bytes([wrapped[0] ^ 1]) + wrapped[1:]
    for damaged in (flipped, wrapped[:-1], wrapped + b"\0", b""):
        assert problem(app.unwrap("kek", damaged, algorithm)) == (400, "BadParameter", None)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("A256KW", DEK),
        ("RSA-OAEP-512", DEK),
        ("", DEK),
        ("RSA-OAEP-256", bytes(191)),
        ("RSA-OAEP", bytes(215)),
    ],
)
def test_an_algorithm_or_a_length_that_does_not_fit_is_refused(
    app: Client, vault: Vault, algorithm: str, value: bytes
) -> None:
    vault.create_key("kek")
    assert problem(app.use("wrapkey", "kek", algorithm, value)) == (400, "BadParameter", None)


@pytest.mark.parametrize("value", [encode(DEK) + "=", "not base64url!", None, 7])
def test_a_value_that_is_not_unpadded_base64url_is_refused(app: Client, vault: Vault, value: object) -> None:
    vault.create_key("kek")
    body = {"alg": "RSA-OAEP-256", "value": value}
    answer = app.send_request(HttpRequest("POST", "keys/kek/wrapkey", json=body))
    assert problem(answer) == (400, "BadParameter", None)


def test_an_operation_that_the_key_is_not_for_is_forbidden(admin: Client, vault: Vault) -> None:
    vault.create_key("kek", key_ops=["wrapKey", "unwrapKey"])
    admin.wrap("kek")
    for operation in ("encrypt", "decrypt"):
        answer = admin.use(operation, "kek", "RSA-OAEP-256", DEK)
        assert problem(answer) == (403, "Forbidden", "KeyOperationForbidden")


def test_a_disabled_key_opens_nothing_but_goes_on_closing(admin: Client, vault: Vault) -> None:
    vault.create_key("kek")
    wrapped = admin.wrap("kek")
    admin.update_key_properties("kek", enabled=False)
    assert problem(admin.unwrap("kek", wrapped)) == (403, "Forbidden", "KeyDisabled")
    assert admin.unwrap("kek", wrapped).json()["error"]["message"] == (
        "Operation unwrapKey is not allowed on a disabled key."
    )
    answer = admin.use("decrypt", "kek", "RSA-OAEP-256", wrapped)
    assert problem(answer) == (403, "Forbidden", "KeyDisabled")
    later = admin.wrap("kek")
    opened(admin.use("encrypt", "kek", "RSA-OAEP-256", DEK))
    admin.update_key_properties("kek", enabled=True)
    assert opened(admin.unwrap("kek", wrapped)) == opened(admin.unwrap("kek", later)) == DEK


def test_outside_its_dates_a_key_opens_but_closes_nothing(own: KeyVaultEmulator) -> None:
    vault = own.vault("acme")
    own.freeze()
    vault.create_key("kek", not_before=own.now() + HOUR, expires=own.now() + 2 * HOUR)
    with own.credential() as credential, Client(vault.url, credential, **own.client_options) as app:

        def refusal() -> tuple[int, str, str | None]:
            return problem(app.use("wrapkey", "kek", "RSA-OAEP-256", DEK))

        assert refusal() == (403, "Forbidden", "KeyNotYetValid")
        assert opened(app.unwrap("kek", wrapped_elsewhere(app))) == DEK
        own.advance(HOUR)
        wrapped = app.wrap("kek")
        own.advance(HOUR - 1)
        app.wrap("kek")
        own.advance(1)
        assert refusal() == (403, "Forbidden", "KeyExpired")
        own.resume()
        assert refusal() == (403, "Forbidden", "KeyExpired")
        assert opened(app.unwrap("kek", wrapped)) == DEK


def wrapped_elsewhere(client: Client) -> bytes:
    """A wrapping that was made with the key's public part, without the service."""
    shown = client.get_key("kek").key
    public = rsa.RSAPublicNumbers(int.from_bytes(shown.e, "big"), int.from_bytes(shown.n, "big")).public_key()
    return public.encrypt(DEK, PADDINGS["RSA-OAEP-256"])


def test_the_sdks_cryptography_client_works_too(admin: KeyClient, vault: Vault) -> None:
    vault.create_key("kek")
    client = admin.get_cryptography_client("kek")
    wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DEK)
    assert client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == DEK
    sealed = client.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"short")
    assert client.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed.ciphertext).plaintext == b"short"
    assert vault.requests.count(operation="unwrapKey", status=200) == 1
