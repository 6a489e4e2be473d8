"""Logging in: the challenge, the token endpoint, tokens that are no longer good."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.core.rest import HttpRequest

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.testing.conftest import DEK, Client, World, opened, problem


def raw(emulator: KeyVaultEmulator, url: str, method: str = "GET", **options: Any) -> requests.Response:
    """An answer without the SDK between."""
    return requests.request(method, url, verify=str(emulator.ca_file), timeout=30, **options)


def test_a_client_walks_the_whole_way_to_a_token_once(world: World, vault: Vault, app: Client) -> None:
    vault.create_key("kek")
    before = len(world.emulator.requests)
    for _ in range(3):
        app.wrap("kek")
    seen = list(world.emulator.requests)[before:]
    assert [(one.vault, one.operation, one.principal, one.status) for one in seen] == [
        (vault.name, "wrapKey", None, 401),
        ("", "openidConfiguration", None, 200),
        ("", "token", "app", 200),
        (vault.name, "wrapKey", "app", 200),
        (vault.name, "wrapKey", "app", 200),
        (vault.name, "wrapKey", "app", 200),
    ]


def test_one_token_serves_every_vault_and_managed_hsm(world: World, vault: Vault, hsm: Vault) -> None:
    credential = world.emulator.credential()
    before = world.emulator.login.requests.count(operation="token")
    for one in (vault, hsm, world.emulator.vault("third")):
        one.create_key("kek")
        world.client(one, credential=credential).get_key("kek")
    assert world.emulator.login.requests.count(operation="token") == before + 1


def test_a_request_without_a_token_is_challenged(world: World, vault: Vault) -> None:
    emulator = world.emulator
    answer = raw(emulator, f"{vault.url}/keys/kek?api-version=7.4")
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "Unauthorized"
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="{emulator.authority}/{emulator.tenant_id}", resource="{vault.resource}"'
    )
    assert vault.url.endswith("." + vault.resource.removeprefix("https://"))


def test_a_wrong_secret_is_refused_by_the_token_endpoint(world: World, vault: Vault) -> None:
    credential = world.emulator.credential(secret="wrong")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret"):
        world.client(vault, credential=credential).get_key("kek")
    assert world.emulator.login.requests.matching(operation="token")[-1].status == 401


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_id": "nobody"}, 400, "unauthorized_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "https://vault.azure.net"}, 400, "invalid_scope"),
    ],
)
def test_the_token_endpoint_refuses_what_it_should(
    emulator: KeyVaultEmulator, change: dict[str, str], status: int, error: str
) -> None:
    form = {
        "client_id": emulator.app.client_id,
        "client_secret": emulator.app.secret,
        "grant_type": "client_credentials",
        "scope": "https://vault.azure.net/.default",
    }
    url = f"{emulator.authority}/{emulator.tenant_id}/oauth2/v2.0/token"
    assert raw(emulator, url, "POST", data=form).json()["token_type"] == "Bearer"
    refused = raw(emulator, url, "POST", data=form | change)
    assert (refused.status_code, refused.json()["error"]) == (status, error)
    elsewhere = url.replace(emulator.tenant_id, "another-tenant")
    assert raw(emulator, elsewhere, "POST", data=form).json()["error"] == "invalid_tenant"


def test_a_token_for_something_else_is_refused(world: World, vault: Vault) -> None:
    credential = world.emulator.credential()
    for scope, status in ((f"{vault.resource}/.default", 404), ("https://storage.azure.com/.default", 401)):
        headers = {"Authorization": f"Bearer {credential.get_token(scope).token}"}
        answer = raw(world.emulator, f"{vault.url}/keys/absent?api-version=7.4", headers=headers)
        assert answer.status_code == status
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_client_that_keeps_an_expired_token_is_locked_out(world: World, vault: Vault) -> None:
    vault.create_key("kek")
    client = world.client(vault)
    wrapped = client.wrap("kek")
    world.emulator.login.expire_tokens()
    answer = client.unwrap("kek", wrapped)
    assert problem(answer)[:2] == (401, "Unauthorized")
    with pytest.raises(ClientAuthenticationError):
        client.get_key("kek")
    assert opened(world.client(vault).unwrap("kek", wrapped)) == DEK


def test_a_client_that_is_asked_for_claims_gets_a_new_token_by_itself(world: World, vault: Vault) -> None:
    vault.create_key("kek")
    client = world.client(vault)
    wrapped = client.wrap("kek")
    world.emulator.login.expire_tokens(ask_for_claims=True)
    issued = world.emulator.login.requests.count(operation="token")
    assert opened(client.unwrap("kek", wrapped)) == DEK
    assert world.emulator.login.requests.count(operation="token") == issued + 1


def test_a_token_that_soon_expires_is_replaced() -> None:
    # The SDK asks for a new token when an old one has less than five minutes left.
    with KeyVaultEmulator(token_lifetime=200) as emulator, emulator.credential() as credential:
        vault = emulator.vault("brief")
        vault.create_key("kek")
        with Client(vault.url, credential, **emulator.client_options) as client:
            client.get_key("kek")
            client.get_key("kek")
        assert emulator.login.requests.count(operation="token") == 2


def test_a_token_is_good_until_its_time_is_over() -> None:
    with KeyVaultEmulator(token_lifetime=1) as emulator, emulator.credential() as credential:
        vault = emulator.vault("brief")
        vault.create_key("kek")
        token = credential.get_token(f"{vault.resource}/.default").token
        headers = {"Authorization": f"Bearer {token}"}
        statuses: list[int] = []
        while 401 not in statuses:
            answer = raw(emulator, f"{vault.url}/keys/kek?api-version=7.4", headers=headers)
            statuses.append(answer.status_code)
        assert set(statuses[:-1]) <= {200}


def test_the_clock_for_keys_does_not_expire_tokens(own: KeyVaultEmulator) -> None:
    vault = own.vault("later")
    vault.create_key("kek")
    with own.credential() as credential, Client(vault.url, credential, **own.client_options) as client:
        client.get_key("kek")
        own.advance(365 * 86400)
        client.get_key("kek")
    assert own.login.requests.count(operation="token") == 1


@pytest.mark.parametrize("path", ["secrets/one", "keys/kek/0/backup", "keys/kek/0/1/2", "", "certificates"])
def test_what_the_emulator_does_not_have_is_not_found(admin: Client, path: str) -> None:
    answer = admin.send_request(HttpRequest("POST", path, json={}))
    assert problem(answer) == (404, "NotFound", None)


def test_a_request_without_an_api_version_is_refused(world: World, vault: Vault) -> None:
    token = world.emulator.credential().get_token(f"{vault.resource}/.default").token
    answer = raw(world.emulator, f"{vault.url}/keys/kek", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 400
    assert answer.json()["error"] == {"code": "BadParameter", "message": "api-version must be specified"}


def test_no_secret_shows_when_a_principal_is_printed(emulator: KeyVaultEmulator) -> None:
    assert emulator.app.secret not in repr(emulator.app)
