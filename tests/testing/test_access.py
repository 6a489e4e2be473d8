"""Who may do what: permissions, roles and network rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import JsonWebKey, KeyRotationPolicy

from sqlalchemy_cmk.testing import Vault
from tests.testing.conftest import DEK, Client, World, opened, problem

MANAGEMENT: dict[str, Callable[[Client], Any]] = {
    "create": lambda client: client.create_rsa_key("new"),
    "import": lambda client: client.import_key("new", JsonWebKey(kty="RSA")),
    "update": lambda client: client.update_key_properties("kek", enabled=False),
    "delete": lambda client: client.begin_delete_key("kek"),
    "recover": lambda client: client.begin_recover_deleted_key("gone"),
    "purge": lambda client: client.purge_deleted_key("gone"),
    "rotate": lambda client: client.rotate_key("kek"),
    "getRotationPolicy": lambda client: client.get_key_rotation_policy("kek"),
    "setRotationPolicy": lambda client: client.update_key_rotation_policy("kek", KeyRotationPolicy()),
    "list": lambda client: list(client.list_properties_of_keys()),
    "listVersions": lambda client: list(client.list_properties_of_key_versions("kek")),
    "listDeleted": lambda client: list(client.list_deleted_keys()),
    "encrypt": lambda client: client.use("encrypt", "kek", "RSA-OAEP", DEK).raise_for_status(),
    "decrypt": lambda client: client.use("decrypt", "kek", "RSA-OAEP", DEK).raise_for_status(),
    "sign": lambda client: client.use("sign", "kek", "RS256", DEK).raise_for_status(),
    "verify": lambda client: client.use("verify", "kek", "RS256", DEK).raise_for_status(),
}


@pytest.mark.parametrize("operation", MANAGEMENT)
def test_the_three_permissions_of_an_application_allow_nothing_else(
    app: Client, vault: Vault, operation: str
) -> None:
    vault.create_key("kek")
    vault.create_key("gone")
    vault.delete_key("gone")
    with pytest.raises(HttpResponseError) as caught:
        MANAGEMENT[operation](app)
    assert caught.value.status_code == 403
    assert caught.value.error.innererror["code"] == "ForbiddenByPolicy"
    assert vault.requests.count(operation=operation, principal="app", inner="ForbiddenByPolicy") == 1
    assert app.get_key("kek").properties.enabled
    assert opened(app.unwrap("kek", app.wrap("kek"))) == DEK


def test_a_principal_has_what_it_was_granted_until_it_is_revoked(world: World, vault: Vault) -> None:
    vault.create_key("kek")
    auditor = world.emulator.principal("auditor")
    client = world.client(vault, auditor)
    answer = client.use("wrapkey", "kek", "RSA-OAEP-256", DEK)
    assert problem(answer) == (403, "Forbidden", "ForbiddenByPolicy")
    vault.grant(auditor, ["list"])
    vault.grant(auditor, ["wrapkey"])
    assert [one.name for one in client.list_properties_of_keys()] == ["kek"]
    client.wrap("kek")
    with pytest.raises(HttpResponseError, match=auditor.client_id):
        client.get_key("kek")
    vault.revoke(auditor)
    answer = client.use("wrapkey", "kek", "RSA-OAEP-256", DEK)
    assert problem(answer) == (403, "Forbidden", "ForbiddenByPolicy")
    with pytest.raises(ValueError, match="no such permission: everything"):
        vault.grant(auditor, ["everything"])


def test_permissions_in_one_vault_say_nothing_of_another(world: World, vault: Vault) -> None:
    other = world.emulator.vault("another")
    credential = world.emulator.credential()
    for one in (vault, other):
        one.create_key("kek")
    other.revoke(world.emulator.app)
    world.client(vault, credential=credential).wrap("kek")
    with pytest.raises(HttpResponseError):
        world.client(other, credential=credential).get_key("kek")


def test_azure_roles_refuse_in_their_own_words(world: World) -> None:
    for vault in (world.emulator.vault("roles", rbac=True), world.emulator.managed_hsm("roles of an hsm")):
        vault.create_key("kek")
        vault.revoke(world.emulator.app)
        answer = world.client(vault).unwrap("kek", DEK)
        assert problem(answer) == (403, "Forbidden", "ForbiddenByRbac")


@pytest.mark.parametrize("rule", ["ForbiddenByFirewall", "ForbiddenByConnection"])
def test_a_network_rule_refuses_everybody(app: Client, admin: Client, vault: Vault, rule: str) -> None:
    vault.create_key("kek")
    wrapped = app.wrap("kek")
    vault.block(rule)
    for client in (app, admin):
        assert problem(client.unwrap("kek", wrapped)) == (403, "Forbidden", rule)
    vault.unblock()
    assert opened(app.unwrap("kek", wrapped)) == DEK
    with pytest.raises(ValueError, match="no such rule"):
        vault.block("ForbiddenByWeather")


def test_nothing_is_found_out_about_keys_without_a_permission(world: World, vault: Vault) -> None:
    vault.create_key("kek", enabled=False)
    stranger = world.client(vault, world.emulator.principal("stranger"))
    answers = [problem(stranger.unwrap(name, DEK)) for name in ("kek", "absent")]
    assert answers == [(403, "Forbidden", "ForbiddenByPolicy")] * 2
