"""One emulator for all, a fresh vault for each test, and the SDK's own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient

from sqlalchemy_cmk.testing import KeyVaultEmulator, Principal, Vault
from sqlalchemy_cmk.testing.messages import decode, encode

DEK = bytes(range(32))


class Client(KeyClient):
    """The SDK's client, with the requests for which it has no method that always asks the service."""

    def use(self, operation: str, key: str, alg: str, value: bytes, **more: str) -> Any:
        body = {"alg": alg, "value": encode(value), **more}
        return self.send_request(HttpRequest("POST", f"keys/{key}/{operation}", json=body))

    def wrap(self, key: str, alg: str = "RSA-OAEP-256", value: bytes = DEK) -> bytes:
        answer = self.use("wrapkey", key, alg, value)
        answer.raise_for_status()
        return decode(answer.json()["value"])

    def unwrap(self, key: str, value: bytes, alg: str = "RSA-OAEP-256") -> Any:
        return self.use("unwrapkey", key, alg, value)


def problem(answer: Any) -> tuple[int, str, str | None]:
    """The status, code and inner code of an answer that is an error."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("innererror", {}).get("code")


def opened(answer: Any) -> bytes:
    """The bytes that an answer returns."""
    assert answer.status_code == 200, answer.text()
    return decode(answer.json()["value"])


class World:
    """The emulator, and clients that are closed after the test."""

    def __init__(self, emulator: KeyVaultEmulator, closing: ExitStack) -> None:
        self.emulator = emulator
        self._closing = closing

    def client(self, vault: Vault, principal: Principal | None = None, **options: Any) -> Client:
        credential = options.pop("credential", None) or self._closing.enter_context(
            self.emulator.credential(principal)
        )
        settings = {"retry_total": 0, **self.emulator.client_options, **options}
        return self._closing.enter_context(Client(vault.url, credential, **settings))


@pytest.fixture(scope="session")
def emulator() -> Iterator[KeyVaultEmulator]:
    """The emulator that tests share; its clock is left alone."""
    with KeyVaultEmulator() as running:
        yield running


@pytest.fixture
def own() -> Iterator[KeyVaultEmulator]:
    """An emulator of the test's own."""
    with KeyVaultEmulator() as running:
        yield running


@pytest.fixture
def world(emulator: KeyVaultEmulator) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(emulator, closing)
    emulator.login.faults.clear()


@pytest.fixture
def vault(emulator: KeyVaultEmulator) -> Iterator[Vault]:
    made = emulator.vault(uuid4().hex)
    yield made
    made.faults.clear()


@pytest.fixture
def hsm(emulator: KeyVaultEmulator) -> Vault:
    return emulator.managed_hsm(uuid4().hex)


@pytest.fixture
def app(world: World, vault: Vault) -> Client:
    """A client of the vault that has the three permissions a CMK needs."""
    return world.client(vault)


@pytest.fixture
def admin(world: World, vault: Vault) -> Client:
    """A client of the vault that may do everything."""
    return world.client(vault, world.emulator.admin)


@pytest.fixture
def hsm_admin(world: World, hsm: Vault) -> Client:
    """A client of the Managed HSM that may do everything."""
    return world.client(hsm, world.emulator.admin)
