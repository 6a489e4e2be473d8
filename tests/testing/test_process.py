"""An emulator in a process of its own, steered from this one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient

COMMAND = [sys.executable, "-m", "sqlalchemy_cmk.testing", "--vault", "acme", "--managed-hsm", "vaulted"]


class Process:
    """The process, what it says of itself, and its control channel."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self.child = child
        self.says: dict[str, Any] = json.loads(child.stdout.readline())

    def post(self, token: str, **order: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        url, verify = self.says["control"]["url"], self.says["ca_file"]
        return requests.post(url, json=order, headers=headers, verify=verify, timeout=30)

    def order(self, call: str, on: str | None = None, **arguments: Any) -> Any:
        answer = self.post(self.says["control"]["token"], on=on, call=call, **{"with": arguments})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def client(self, vault: str, principal: str = "app") -> KeyClient:
        verify = {"connection_verify": self.says["ca_file"], "retry_total": 0}
        credential = ClientSecretCredential(
            self.says["tenant_id"],
            **self.says["principals"][principal],
            authority=self.says["authority"],
            disable_instance_discovery=True,
            **verify,
        )
        return KeyClient(vault, credential, **verify)


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as child:
        running = Process(child)
        yield running
        child.terminate()
        assert child.wait(120) == 0
        assert not Path(running.says["ca_file"]).exists()


def test_it_serves_the_vaults_that_it_was_told_to(process: Process) -> None:
    acme, vaulted = (process.says["vaults"][name] for name in ("acme", "vaulted"))
    assert process.client(acme, "admin").create_rsa_key("kek").key_type == "RSA"
    made = process.client(vaulted, "admin").create_oct_key("kek", hardware_protected=True)
    assert made.key_type == "oct-HSM"


def test_the_control_channel_makes_faults_keys_and_vaults(process: Process) -> None:
    url = process.order("vault", name="globex")["url"]
    made = process.order("create_key", "globex", name="kek")
    assert made["kid"] == f"{url}/keys/kek/{made['version']}"
    client = process.client(url)
    client.get_key("kek")
    process.order("faults.fail", "globex", status=503, times=1)
    with pytest.raises(HttpResponseError) as caught:
        client.get_key("kek")
    assert caught.value.status_code == 503
    process.order("disable_key", "globex", name="kek")
    assert not client.get_key("kek").properties.enabled
    process.order("revoke", "globex", principal="app")
    with pytest.raises(HttpResponseError, match="ForbiddenByPolicy"):
        client.get_key("kek")
    seen = process.order("requests", "globex", operation="get", principal="app")
    assert [one["status"] for one in seen] == [200, 503, 200, 403]
    process.order("login.expire_tokens")
    with pytest.raises(HttpResponseError) as caught:
        client.get_key("kek")
    assert caught.value.status_code == 401
    now = process.order("now")
    process.order("advance", seconds=3600)
    assert process.order("now") - now >= 3600


def test_the_control_channel_is_for_the_holder_of_its_token_and_for_nothing_else(process: Process) -> None:
    for wrong in ("", "wrong", process.says["control"]["token"] + "x"):
        assert process.post(wrong, call="now").status_code == 401
    token = process.says["control"]["token"]
    for on, call in ((None, "stop"), ("acme", "_store"), ("acme", "respond"), ("nowhere", "requests")):
        assert process.post(token, on=on, call=call).status_code == 400
    assert (
        "404 KeyNotFound" in process.post(token, on="acme", call="delete_key", **{"with": {"name": "x"}}).text
    )


def test_a_signal_from_the_keyboard_ends_it_too() -> None:
    with subprocess.Popen(COMMAND[:3], stdout=subprocess.PIPE, text=True) as child:
        assert Process(child).says["vaults"] == {}
        child.send_signal(2)
        assert child.wait(120) == 0
