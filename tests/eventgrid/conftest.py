"""A tenant with its KEK in an emulated vault, and the requests that Azure Event Grid would send about it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk import KeyEvent
from sqlalchemy_cmk.eventgrid import Answer, EventGridReceiver
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.places import vault_place
from tests.support.databases import Database
from tests.support.waiting import until
from tests.support.world import World

SECRET = "0123456789abcdef0123456789abcdef"
QUERY = f"code={SECRET}"
ORIGIN = "eventgrid.azure.net"
DAY = 86_400.0


class Clinic(World):
    """acme, whose KEK is in a vault, with a note; a receiver, and what callbacks have heard."""

    def __init__(self, url: str, folder: Path, emulator: KeyVaultEmulator) -> None:
        super().__init__(url, folder)
        self.create()
        self.place = vault_place(emulator)
        self.restart(providers=[self.place.provider, self.provider])
        self.heard: list[KeyEvent] = []
        self.keyring.on_event(self.heard.append)
        self.write("globex", "ours")
        self.keyring.assign("acme", self.place.kek_uri)
        self.write("acme", "theirs")
        self.receiver = EventGridReceiver(self.keyring, SECRET)

    def hear(self, *kinds: str) -> list[KeyEvent]:
        """What was heard, once so many events were, which are of these kinds."""
        self.keyring.keys.background.flush()
        until(lambda: len(self.heard) >= len(kinds))
        assert [str(one.kind) for one in self.heard] == list(kinds)
        return self.heard

    def event(self, kind: str, name: str = "clinic-kek", host: str | None = None) -> dict[str, Any]:
        """An event in Event Grid's own schema, after the example of its documentation."""
        url = self.place.vault.url if host is None else f"https://{host}"
        data = {
            "Id": f"{url}/keys/{name}/ee059b2bb5bc48398a53b168c6cdcb10",
            "VaultName": "sample-kv",
            "ObjectType": "Key",
            "ObjectName": name,
            "Version": "ee059b2bb5bc48398a53b168c6cdcb10",
            "NBF": None,
            "EXP": time.time() + 30 * DAY,
        }
        return {
            "id": "00eccf70-95a7-4e7c-8299-2eb17ee9ad64",
            "topic": "/subscriptions/S/resourceGroups/R/providers/Microsoft.KeyVault/vaults/sample-kv",
            "subject": name,
            "eventType": f"Microsoft.KeyVault.{kind}",
            "eventTime": "2026-11-28T01:08:33.1036736Z",
            "data": data,
            "dataVersion": "1",
            "metadataVersion": "1",
        }

    def cloud_event(self, kind: str) -> dict[str, Any]:
        """The same as a CloudEvent."""
        event = self.event(kind)
        return {
            "specversion": "1.0",
            "id": event["id"],
            "source": event["topic"],
            "type": event["eventType"],
            "subject": event["subject"],
            "time": event["eventTime"],
            "data": event["data"],
        }

    def post(self, body: object, query: str = QUERY, **headers: str) -> Answer:
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **headers}
        return self.receiver.answer("POST", given, query, said)

    def versions(self, tenant: str = "acme") -> set[str]:
        """The KEK versions that wrap a tenant's DEKs."""
        keys = self.keyring.store.keys_of(tenant)
        assert keys is not None
        return {one.kek_version for dek in keys.living for one in dek.wrappings}

    def close(self) -> None:
        super().close()
        self.place.close()


@pytest.fixture
def clinic(
    sqlite_database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator
) -> Iterator[Clinic]:
    clinic = Clinic(sqlite_database.url, tmp_path, key_vault_emulator)
    clinic.hear("rotated")
    clinic.heard.clear()
    yield clinic
    clinic.close()


@pytest.fixture
def everywhere(database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator) -> Iterator[Clinic]:
    """The same on each database in turn."""
    clinic = Clinic(database.url, tmp_path, key_vault_emulator)
    clinic.hear("rotated")
    clinic.heard.clear()
    yield clinic
    clinic.close()
