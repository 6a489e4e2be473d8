"""Faults: what the SDK meets, and what the vault has done by then."""

from __future__ import annotations

import time

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest

from sqlalchemy_cmk.testing import Vault
from tests.testing.conftest import DEK, Client, World, opened, problem


@pytest.fixture(autouse=True)
def kek(vault: Vault) -> None:
    vault.create_key("kek")


def statuses(vault: Vault) -> list[int | None]:
    """The statuses of what was asked with a valid token, in order."""
    return [seen.status for seen in vault.requests if seen.principal]


def test_throttling_says_when_to_come_back(app: Client, vault: Vault) -> None:
    vault.faults.throttle(retry_after=7, times=2)
    for _ in range(2):
        answer = app.use("wrapkey", "kek", "RSA-OAEP-256", DEK)
        assert problem(answer) == (429, "Throttled", None)
        assert answer.headers["Retry-After"] == "7"
    app.wrap("kek")
    assert statuses(vault) == [429, 429, 200]


def test_the_sdk_waits_and_tries_again_if_it_is_told_when(world: World, vault: Vault) -> None:
    client = world.client(vault, retry_total=3)
    vault.faults.throttle(retry_after=0.01, times=2)
    client.wrap("kek")
    assert statuses(vault) == [429, 429, 200]
    vault.requests.clear()
    vault.faults.throttle(retry_after=None, times=2)
    answer = client.use("wrapkey", "kek", "RSA-OAEP-256", DEK)
    assert answer.status_code == 429 and "Retry-After" not in answer.headers
    assert statuses(vault) == [429]


@pytest.mark.parametrize("status", [500, 503, 504])
def test_server_errors_last_until_they_are_cleared(app: Client, vault: Vault, status: int) -> None:
    vault.faults.fail(status)
    for _ in range(3):
        assert app.use("wrapkey", "kek", "RSA-OAEP-256", DEK).status_code == status
    vault.faults.clear()
    app.wrap("kek")


def test_a_fault_may_be_for_some_operations_only(app: Client, vault: Vault) -> None:
    wrapped = app.wrap("kek")
    vault.faults.fail(only=["unwrapKey"], times=1)
    app.get_key("kek")
    app.wrap("kek")
    assert app.unwrap("kek", wrapped).status_code == 503
    assert opened(app.unwrap("kek", wrapped)) == DEK


def test_faults_come_one_after_the_other(app: Client, vault: Vault) -> None:
    vault.faults.fail(500, times=1)
    vault.faults.throttle(times=1)
    codes = [app.use("wrapkey", "kek", "RSA-OAEP-256", DEK).status_code for _ in range(3)]
    assert codes == [500, 429, 200]


def test_a_dropped_connection_is_no_answer_and_nothing_is_done(admin: Client, vault: Vault) -> None:
    vault.faults.drop(times=1, only=["create"])
    with pytest.raises(ServiceResponseError):
        admin.create_rsa_key("new")
    assert vault.requests.matching(operation="create", principal="admin")[0].status is None
    assert [one.name for one in admin.list_properties_of_keys()] == ["kek"]


def test_half_an_answer_breaks_off_after_the_work_is_done(admin: Client, vault: Vault) -> None:
    vault.faults.half_answer(times=1, only=["create"])
    with pytest.raises((ServiceResponseError, HttpResponseError)):
        admin.create_rsa_key("new")
    assert [one.name for one in admin.list_properties_of_keys()] == ["kek", "new"]


def test_a_delay_holds_the_answer_back(app: Client, vault: Vault) -> None:
    app.wrap("kek")
    vault.faults.delay(0.3, times=1)
    begun = time.monotonic()
    app.wrap("kek")
    assert time.monotonic() - begun >= 0.3
    vault.faults.delay(30, times=1)
    with pytest.raises(ServiceResponseError):
        app.get_key("kek", read_timeout=0.1)


def test_a_delay_goes_together_with_another_fault(app: Client, vault: Vault) -> None:
    vault.faults.delay(0.2)
    vault.faults.fail(503, times=1)
    begun = time.monotonic()
    assert app.use("wrapkey", "kek", "RSA-OAEP-256", DEK).status_code == 503
    assert time.monotonic() - begun >= 0.2


def test_a_vault_that_is_down_breaks_connections_and_refuses_new_ones(app: Client, vault: Vault) -> None:
    wrapped = app.wrap("kek")
    vault.faults.down()
    for _ in range(2):
        with pytest.raises(ServiceRequestError):
            app.get_key("kek")
    vault.faults.clear()
    assert opened(app.unwrap("kek", wrapped)) == DEK
    vault.faults.down()
    vault.faults.down()
    vault.faults.clear()
    assert opened(app.unwrap("kek", wrapped)) == DEK


def test_one_vaults_faults_are_not_anothers(world: World, app: Client, vault: Vault) -> None:
    other = world.emulator.vault("healthy")
    other.create_key("kek")
    vault.faults.down()
    world.client(other).get_key("kek")


def test_the_challenge_uses_no_fault_up(world: World, vault: Vault) -> None:
    vault.faults.fail(times=1)
    assert world.client(vault).use("wrapkey", "kek", "RSA-OAEP-256", DEK).status_code == 503


@pytest.mark.parametrize("fault", ["throttle", "fail", "drop", "half_answer", "down"])
def test_the_token_endpoint_has_faults_too(world: World, vault: Vault, fault: str) -> None:
    login = world.emulator.login
    known = world.client(vault)
    known.wrap("kek")
    getattr(login.faults, fault)()
    credential = world.emulator.credential(retry_total=0)
    with pytest.raises((ClientAuthenticationError, ServiceRequestError, ServiceResponseError)):
        world.client(vault, credential=credential).get_key("kek")
    known.wrap("kek")
    login.faults.clear()
    # A credential goes on refusing for a while after a 429 or 5xx, without asking: hence a new one.
    world.client(vault).get_key("kek")


def test_a_fault_that_makes_no_sense_is_refused(vault: Vault) -> None:
    with pytest.raises(ValueError, match="404 is not a server error"):
        vault.faults.fail(404)
    with pytest.raises(ValueError, match="times"):
        vault.faults.drop(times=0)


def test_a_body_may_come_byte_by_byte(app: Client, vault: Vault) -> None:
    wrapped = app.wrap("kek")
    vault.faults.drip(0.002, times=1)
    began = time.monotonic()
    answer = app.unwrap("kek", wrapped)
    assert time.monotonic() - began >= 0.002 * len(answer.content) and opened(answer) == DEK


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (None, b""),
        ("<html>", b"<html>"),
        (b"\xff", b"\xff"),
        ({"error": "no"}, b'{"error": "no"}'),
        ([], b"[]"),
    ],
)
def test_something_else_may_answer_in_the_vaults_place(
    app: Client, vault: Vault, body: object, sent: bytes
) -> None:
    vault.faults.foreign_answer(418, body, {"Via": "gateway"}, times=1)
    answer = app.use("wrapkey", "kek", "RSA-OAEP-256", DEK)
    assert (answer.status_code, answer.content, answer.headers["Via"]) == (418, sent, "gateway")
    app.wrap("kek")
    assert statuses(vault) == [418, 200]


def test_a_redirect_names_another_address(app: Client, vault: Vault) -> None:
    vault.faults.redirect("https://elsewhere.example/keys/kek", 307, times=1)
    answer = app.send_request(HttpRequest("GET", "keys/kek"), permit_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "https://elsewhere.example/keys/kek")


def test_the_emulator_names_the_hosts_of_its_vaults(world: World, vault: Vault) -> None:
    assert vault.url.removeprefix("https://") in world.emulator.trusted_hosts
