"""The same service through the SDK's asyncio client, over aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.keys.aio import KeyClient

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from sqlalchemy_cmk.testing.messages import decode, encode
from tests.testing.conftest import DEK


@pytest.fixture
async def client(emulator: KeyVaultEmulator, vault: Vault) -> AsyncIterator[KeyClient]:
    options: dict[str, Any] = {"retry_total": 0, **emulator.client_options}
    async with (
        emulator.async_credential(emulator.admin) as credential,
        KeyClient(vault.url, credential, **options) as client,
    ):
        yield client


async def use(client: KeyClient, operation: str, value: bytes) -> Any:
    body = {"alg": "RSA-OAEP-256", "value": encode(value)}
    return await client.send_request(HttpRequest("POST", f"keys/kek/{operation}", json=body))


async def test_keys_are_made_used_changed_and_deleted(client: KeyClient, vault: Vault) -> None:
    made = await client.create_rsa_key("kek", size=2048)
    assert made.id == vault.key_uri("kek", made.properties.version)
    wrapped = decode((await use(client, "wrapkey", DEK)).json()["value"])
    assert decode((await use(client, "unwrapkey", wrapped)).json()["value"]) == DEK
    expires = datetime(2040, 1, 1, tzinfo=UTC)
    await client.update_key_properties("kek", enabled=False, expires_on=expires)
    assert (await use(client, "unwrapkey", wrapped)).json()["error"]["innererror"]["code"] == "KeyDisabled"
    await client.rotate_key("kek")
    assert len([one async for one in client.list_properties_of_key_versions("kek", max_page_size=1)]) == 2
    await client.delete_key("kek")
    assert [one.name async for one in client.list_deleted_keys()] == ["kek"]
    await client.recover_deleted_key("kek")
    assert (await client.get_key("kek")).properties.version != made.properties.version


async def test_many_requests_at_once_are_answered_each(client: KeyClient, vault: Vault) -> None:
    vault.create_key("kek")
    wrapped = [decode((await use(client, "wrapkey", bytes([n]) * 32)).json()["value"]) for n in range(50)]
    answers = await asyncio.gather(*(use(client, "unwrapkey", one) for one in wrapped))
    assert [decode(answer.json()["value"]) for answer in answers] == [bytes([n]) * 32 for n in range(50)]


async def test_faults_reach_the_asyncio_client(client: KeyClient, vault: Vault) -> None:
    vault.create_key("kek")
    await client.get_key("kek")
    vault.faults.throttle(retry_after=3, times=1)
    answer = await use(client, "wrapkey", DEK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    # aiohttp repeats a GET by itself when its connection breaks, but never a POST.
    vault.faults.drop(times=1)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await use(client, "wrapkey", DEK)
    vault.faults.half_answer(times=1)
    with pytest.raises((ServiceResponseError, HttpResponseError)):
        await client.get_key("kek")
    vault.faults.down()
    with pytest.raises(ServiceRequestError):
        await client.get_key("kek")
    vault.faults.clear()
    assert (await client.get_key("kek")).name == "kek"


async def test_the_asyncio_client_checks_the_certificate(emulator: KeyVaultEmulator, vault: Vault) -> None:
    async with (
        emulator.async_credential() as credential,
        KeyClient(vault.url, credential, retry_total=0) as client,
    ):
        with pytest.raises(ServiceRequestError, match="certificate verify failed"):
            await client.get_key("kek")
    assert len(vault.requests) == 0
