"""Keys and their versions, managed through the SDK's client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.keys import JsonWebKey, KeyOperation
from cryptography.hazmat.primitives.asymmetric import rsa

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from sqlalchemy_cmk.testing.errors import ServiceError
from tests.testing.conftest import DEK, Client, World, opened

SOON = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)


def number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def as_jwk(key: rsa.RSAPrivateKey, **more: Any) -> JsonWebKey:
    private = key.private_numbers()
    return JsonWebKey(
        kty="RSA",
        n=number(private.public_numbers.n),
        e=number(private.public_numbers.e),
        d=number(private.d),
        p=number(private.p),
        q=number(private.q),
        dp=number(private.dmp1),
        dq=number(private.dmq1),
        qi=number(private.iqmp),
        **more,
    )


@pytest.mark.parametrize("size", [2048, 3072, 4096])
@pytest.mark.parametrize("hardware", [False, True])
def test_an_rsa_key_of_each_size_is_made_and_shown(admin: Client, size: int, hardware: bool) -> None:
    made = admin.create_rsa_key("kek", size=size, hardware_protected=hardware)
    assert made.key_type == ("RSA-HSM" if hardware else "RSA")
    assert int.from_bytes(made.key.n, "big").bit_length() == size and made.key.e == b"\1\0\1"
    assert made.key.d is None and made.key.p is None
    assert admin.get_key("kek").key.n == made.key.n


def test_a_key_is_shown_with_all_that_it_was_made_with(admin: Client, vault: Vault) -> None:
    made = admin.create_rsa_key(
        "kek",
        enabled=False,
        key_operations=[KeyOperation.wrap_key, KeyOperation.unwrap_key],
        tags={"team": "clinic"},
        not_before=SOON,
        expires_on=SOON + timedelta(days=1),
    )
    shown = admin.get_key("kek")
    assert shown.id == made.id == vault.key_uri("kek", shown.properties.version)
    assert shown.key_operations == ["wrapKey", "unwrapKey"]
    properties = shown.properties
    assert (properties.enabled, properties.tags) == (False, {"team": "clinic"})
    assert (properties.not_before, properties.expires_on) == (SOON, SOON + timedelta(days=1))
    assert properties.vault_url == vault.url
    assert abs(properties.created_on - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_name_alone_means_the_newest_version_and_each_has_its_own_key(admin: Client) -> None:
    first, second = admin.create_rsa_key("kek"), admin.create_rsa_key("kek")
    assert admin.get_key("kek").id == second.id
    assert admin.get_key("kek", first.properties.version).key.n == first.key.n != second.key.n


@pytest.mark.parametrize(("name", "version"), [("absent", None), ("kek", "0" * 32)])
def test_a_missing_key_or_version_is_not_found(admin: Client, name: str, version: str | None) -> None:
    admin.create_rsa_key("kek")
    with pytest.raises(ResourceNotFoundError) as caught:
        admin.get_key(name, version)
    assert caught.value.error.code == "KeyNotFound"


def test_an_update_changes_what_it_names_and_leaves_the_rest(admin: Client) -> None:
    old = admin.create_rsa_key("kek", tags={"a": "1"})
    new = admin.create_rsa_key("kek", tags={"a": "2"})
    changed = admin.update_key_properties("kek", enabled=False, expires_on=SOON)
    assert changed.id == new.id and changed.properties.tags == {"a": "2"}
    assert (changed.properties.enabled, changed.properties.expires_on) == (False, SOON)
    admin.update_key_properties(
        "kek", old.properties.version, tags={"a": "3"}, key_operations=["unwrapKey"], not_before=SOON
    )
    assert admin.get_key("kek").properties.tags == {"a": "2"}
    shown = admin.get_key("kek", old.properties.version)
    assert (shown.properties.tags, shown.key_operations) == ({"a": "3"}, ["unwrapKey"])
    assert (shown.properties.enabled, shown.properties.not_before) == (True, SOON)


@pytest.mark.parametrize("page", [None, 1, 3, 25])
def test_lists_come_in_pages(admin: Client, vault: Vault, page: int | None) -> None:
    names = sorted(f"kek-{number}" for number in range(7))
    for name in names:
        vault.create_key(name, tags={"is": name})
    listed = list(admin.list_properties_of_keys(max_page_size=page))
    assert [one.name for one in listed] == names and {one.version for one in listed} == {None}
    assert listed[0].tags == {"is": "kek-0"} and listed[0].enabled
    for _ in range(6):
        vault.create_key("kek-0")
    versions = [one.version for one in admin.list_properties_of_key_versions("kek-0", max_page_size=page)]
    assert versions == sorted(one.version for one in vault.versions("kek-0")) and len(versions) == 7
    pages = vault.requests.count(operation="listVersions", status=200)
    assert pages == {None: 1, 1: 7, 3: 3, 25: 1}[page]


def test_a_page_larger_than_the_service_gives_is_refused(admin: Client) -> None:
    with pytest.raises(HttpResponseError) as caught:
        list(admin.list_properties_of_keys(max_page_size=26))
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")


def test_a_deleted_key_is_gone_holds_its_name_and_comes_back(admin: Client, vault: Vault) -> None:
    first, _ = admin.create_rsa_key("kek"), admin.create_rsa_key("kek")
    wrapped = admin.wrap(f"kek/{first.properties.version}")
    poller = admin.begin_delete_key("kek", _polling_interval=0.01)
    poller.wait()
    deleted = poller.result()
    assert deleted.recovery_id == f"{vault.url}/deletedkeys/kek"
    assert deleted.scheduled_purge_date - deleted.deleted_date == timedelta(days=90)
    assert admin.get_deleted_key("kek").id == deleted.id
    assert [one.name for one in admin.list_deleted_keys()] == ["kek"]
    assert list(admin.list_properties_of_keys()) == []
    with pytest.raises(ResourceNotFoundError):
        admin.get_key("kek")
    assert admin.unwrap(f"kek/{first.properties.version}", wrapped).status_code == 404
    with pytest.raises(ResourceExistsError) as caught:
        admin.create_rsa_key("kek")
    assert caught.value.error.innererror["code"] == "ObjectIsDeletedButRecoverable"
    admin.begin_recover_deleted_key("kek", _polling_interval=0.01).wait()
    assert opened(admin.unwrap(f"kek/{first.properties.version}", wrapped)) == DEK
    with pytest.raises(ResourceNotFoundError):
        admin.get_deleted_key("kek")


def test_a_purged_key_is_gone_for_good_and_its_name_is_free(admin: Client) -> None:
    old = admin.create_rsa_key("kek")
    admin.begin_delete_key("kek").result()
    admin.purge_deleted_key("kek")
    with pytest.raises(ResourceNotFoundError):
        admin.begin_recover_deleted_key("kek")
    assert admin.create_rsa_key("kek").key.n != old.key.n
    with pytest.raises(ResourceNotFoundError):
        admin.get_key("kek", old.properties.version)


def test_purge_protection_keeps_a_deleted_key_for_its_whole_retention(own: KeyVaultEmulator) -> None:
    vault = own.vault("kept", purge_protection=True)
    with (
        own.credential(own.admin) as credential,
        Client(vault.url, credential, **own.client_options) as admin,
    ):
        assert admin.create_rsa_key("kek").properties.recovery_level == "Recoverable"
        admin.begin_delete_key("kek").result()
        with pytest.raises(HttpResponseError, match="purge protection") as caught:
            admin.purge_deleted_key("kek")
        assert caught.value.status_code == 403
        own.advance(90 * 86400 - 60)
        assert admin.get_deleted_key("kek").name == "kek"
        own.advance(120)
        assert list(admin.list_deleted_keys()) == []
        admin.create_rsa_key("kek")


def test_an_imported_key_is_the_one_that_was_given(admin: Client) -> None:
    key = rsa.generate_private_key(65537, 2048)
    imported = admin.import_key("kek", as_jwk(key, key_ops=["unwrapKey", "wrapKey"]), tags={"made": "here"})
    assert int.from_bytes(imported.key.n, "big") == key.public_key().public_numbers().n
    assert imported.key_type == "RSA" and imported.key_operations == ["unwrapKey", "wrapKey"]
    assert imported.properties.tags == {"made": "here"}
    assert opened(admin.unwrap("kek", admin.wrap("kek"))) == DEK
    hardware = admin.import_key("hard", as_jwk(key), hardware_protected=True)
    assert hardware.key_type == "RSA-HSM" and hardware.key.n == imported.key.n


def test_an_imported_key_that_does_not_fit_together_is_refused(admin: Client) -> None:
    damaged = as_jwk(rsa.generate_private_key(65537, 2048))
    damaged.n = number(int.from_bytes(damaged.n, "big") + 2)
    with pytest.raises(HttpResponseError) as caught:
        admin.import_key("kek", damaged)
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("under_score", {"key_type": "RSA"}),
        ("kek", {"key_type": "RSA", "size": 1024}),
        ("kek", {"key_type": "EC"}),
        ("kek", {"key_type": "oct-HSM"}),
    ],
)
def test_a_key_that_a_vault_cannot_have_is_refused(admin: Client, name: str, options: Any) -> None:
    with pytest.raises(HttpResponseError) as caught:
        admin.create_key(name, **options)
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")


def test_a_standard_vault_has_no_keys_in_hardware(world: World) -> None:
    admin = world.client(world.emulator.vault("standard", premium=False), world.emulator.admin)
    assert admin.create_rsa_key("kek").key_type == "RSA"
    with pytest.raises(HttpResponseError, match="RSA-HSM"):
        admin.create_rsa_key("kek", hardware_protected=True)


def test_two_hundred_keys_are_two_hundred_different_ones(vault: Vault) -> None:
    moduli = {vault.create_key(f"kek-{number}").material.public()["n"] for number in range(200)}
    assert len(moduli) == 200


def test_the_owner_of_a_vault_can_do_everything_without_a_client(vault: Vault, app: Client) -> None:
    made = vault.create_key("kek", expires=SOON.timestamp(), tags={"a": "b"})
    wrapped = app.wrap(f"kek/{made.version}")
    rotated = vault.rotate_key("kek")
    assert [one.version for one in vault.versions("kek")] == [made.version, rotated.version]
    vault.disable_key("kek")
    assert app.unwrap(f"kek/{made.version}", wrapped).status_code == 403
    vault.enable_key("kek", made.version)
    assert opened(app.unwrap(f"kek/{made.version}", wrapped)) == DEK
    assert not app.get_key("kek").properties.enabled
    vault.update_key("kek", enabled=True, tags={"a": "c"})
    assert app.get_key("kek").properties.tags == {"a": "c"}
    vault.delete_key("kek")
    with pytest.raises(ResourceNotFoundError):
        app.get_key("kek")
    vault.recover_key("kek")
    assert opened(app.unwrap(f"kek/{made.version}", wrapped)) == DEK
    vault.delete_key("kek")
    vault.purge_key("kek")
    vault.import_key("kek", rsa.generate_private_key(65537, 2048))
    assert app.unwrap("kek", wrapped).status_code == 400


def test_the_owner_is_refused_what_the_service_would_refuse(vault: Vault) -> None:
    vault.create_key("kek")
    vault.delete_key("kek")
    with pytest.raises(ServiceError, match="409 Conflict"):
        vault.create_key("kek")
    with pytest.raises(ServiceError, match="404 KeyNotFound"):
        vault.disable_key("absent")
    with pytest.raises(ServiceError, match="Key type oct-HSM"):
        vault.import_key("secret", bytes(32))
    with pytest.raises(ValueError, match="unusual length"):
        vault.import_key("short", rsa.generate_private_key(65537, 1024))
