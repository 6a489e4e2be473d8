"""Managed HSM: symmetric keys, of which nothing is ever shown."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.keys import JsonWebKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from sqlalchemy_cmk.testing import Vault
from sqlalchemy_cmk.testing.messages import decode
from tests.testing.conftest import DEK, Client, World, opened, problem

KEK = bytes(range(100, 132))


@pytest.mark.parametrize("size", [128, 192, 256])
def test_a_symmetric_key_of_each_size_wraps_and_is_never_shown(hsm_admin: Client, size: int) -> None:
    made = hsm_admin.create_oct_key("kek", size=size, hardware_protected=True)
    assert made.key_type == "oct-HSM" and made.key_operations == [
        "encrypt",
        "decrypt",
        "wrapKey",
        "unwrapKey",
    ]
    raw = hsm_admin.send_request(HttpRequest("GET", "keys/kek")).json()
    assert set(raw["key"]) == {"kid", "kty", "key_ops"}
    wrapped = hsm_admin.wrap("kek", f"A{size}KW")
    assert len(wrapped) == 40 and opened(hsm_admin.unwrap("kek", wrapped, f"A{size}KW")) == DEK


def test_wrapping_is_rfc_3394_under_the_imported_key(hsm_admin: Client, hsm: Vault) -> None:
    hsm_admin.import_key("kek", JsonWebKey(kty="oct-HSM", k=KEK, key_ops=["wrapKey", "unwrapKey"]))
    assert hsm_admin.wrap("kek", "A256KW") == aes_key_wrap(KEK, DEK)
    hsm.import_key("same", KEK)
    assert opened(hsm_admin.unwrap("same", aes_key_wrap(KEK, DEK), "A256KW")) == DEK


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [("A128KW", DEK), ("RSA-OAEP-256", DEK), ("A256KW", b"short"), ("A256KW", bytes(33))],
)
def test_what_does_not_fit_the_key_is_refused(
    hsm_admin: Client, hsm: Vault, algorithm: str, value: bytes
) -> None:
    hsm.create_key("kek")
    assert problem(hsm_admin.use("wrapkey", "kek", algorithm, value)) == (400, "BadParameter", None)


def test_a_damaged_wrapping_and_another_keys_are_refused(hsm_admin: Client, hsm: Vault) -> None:
    hsm.create_key("kek")
    hsm.create_key("other")
    wrapped = hsm_admin.wrap("kek", "A256KW")
    for damaged in (bytes([wrapped[0] ^ 1]) + wrapped[1:], wrapped[:-8], wrapped[:-1], b""):
        assert problem(hsm_admin.unwrap("kek", damaged, "A256KW")) == (400, "BadParameter", None)
    assert problem(hsm_admin.unwrap("other", wrapped, "A256KW")) == (400, "BadParameter", None)


def test_a_disabled_key_opens_nothing_but_goes_on_closing(hsm_admin: Client, hsm: Vault) -> None:
    hsm.create_key("kek")
    wrapped = hsm_admin.wrap("kek", "A256KW")
    hsm_admin.update_key_properties("kek", enabled=False)
    answer = hsm_admin.unwrap("kek", wrapped, "A256KW")
    assert problem(answer) == (403, "Forbidden", "KeyDisabled")
    assert hsm_admin.wrap("kek", "A256KW") == wrapped


def test_aes_gcm_seals_with_a_nonce_of_the_hsms_own(hsm_admin: Client, hsm: Vault) -> None:
    hsm.create_key("kek")
    sealed: Any = hsm_admin.use("encrypt", "kek", "A256GCM", b"text", aad="YWJj").json()
    again = hsm_admin.use("encrypt", "kek", "A256GCM", b"text", aad="YWJj").json()
    assert sealed["iv"] != again["iv"]
    parts = {name: sealed[name] for name in ("iv", "tag", "aad")}
    value = decode(sealed["value"])
    assert opened(hsm_admin.use("decrypt", "kek", "A256GCM", value, **parts)) == b"text"
    for changed in ({**parts, "aad": "YWJk"}, {**parts, "tag": again["tag"]}, {"iv": parts["iv"]}):
        answer = hsm_admin.use("decrypt", "kek", "A256GCM", value, **changed)
        assert problem(answer) == (400, "BadParameter", None)
    assert problem(hsm_admin.use("encrypt", "kek", "A128GCM", b"text")) == (400, "BadParameter", None)


def test_padding_of_base64_is_read_as_zeros(hsm_admin: Client, hsm: Vault) -> None:
    hsm.create_key("rsa", "RSA-HSM")
    body = {"alg": "RSA-OAEP-256", "value": urlsafe_b64encode(DEK).decode()}
    answer = hsm_admin.send_request(HttpRequest("POST", "keys/rsa/wrapkey", json=body))
    assert opened(hsm_admin.unwrap("rsa", opened(answer))) == DEK + b"\0"


@pytest.mark.parametrize("options", [{"key_type": "RSA"}, {"key_type": "oct"}, {"key_type": "EC-HSM"}])
def test_a_managed_hsm_has_keys_in_hardware_only(hsm_admin: Client, options: Any) -> None:
    with pytest.raises(HttpResponseError) as caught:
        hsm_admin.create_key("kek", **options)
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")
    assert hsm_admin.create_rsa_key("kek", hardware_protected=True).key_type == "RSA-HSM"


def test_a_name_is_a_vaults_or_a_managed_hsms(world: World, hsm: Vault) -> None:
    assert world.emulator.managed_hsm(hsm.name) is hsm
    with pytest.raises(ValueError, match="is a Managed HSM"):
        world.emulator.vault(hsm.name)
