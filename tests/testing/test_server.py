"""The server: certificates, many connections, forks, and an end without leftovers."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.keyvault.keys import KeyClient

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.testing.conftest import DEK, Client, World, opened


def connect(emulator: KeyVaultEmulator, vault: Vault) -> ssl.SSLSocket:
    """A connection without HTTP."""
    host, port = vault.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(emulator.ca_file))
    return context.wrap_socket(socket.create_connection((host, int(port)), 30), server_hostname=host)


def get(vault: Vault, token: str, **headers: str) -> bytes:
    """The bytes of a request for a key."""
    lines = ["GET /keys/kek?api-version=7.4 HTTP/1.1", "Host: here", f"Authorization: Bearer {token}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_client_that_does_not_know_the_authority_does_not_connect(world: World, vault: Vault) -> None:
    with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
        world.client(vault, connection_verify=True).get_key("kek")
    assert len(vault.requests) == 0


def test_a_certificate_is_for_its_vaults_address_alone(emulator: KeyVaultEmulator, vault: Vault) -> None:
    host, port = vault.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(emulator.ca_file))
    with (
        socket.create_connection((host, int(port)), 30) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_free_port_is_given_out_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # Half of all ports, odd and even ones: sixteen servers that look at nothing would take one of them.
    used = {port for port in range(1 << 16) if port % 4 < 2}
    monkeypatch.setattr("sqlalchemy_cmk.testing.emulator._ports_used", used)
    with KeyVaultEmulator(one_address=True) as emulator:
        ports = [int(emulator.vault(f"vault {number}").url.rpartition(":")[2]) for number in range(16)]
    assert len(set(ports)) == 16 and all(port % 4 >= 2 for port in ports)


def test_the_server_listens_on_loopback_only(own: KeyVaultEmulator) -> None:
    hosts = [own.vault(f"vault {number}").url.removeprefix("https://").split(":")[0] for number in range(300)]
    assert len(set(hosts)) == 300 and all(host.startswith("127.") for host in hosts)


def test_a_connection_serves_many_requests(world: World, vault: Vault) -> None:
    vault.create_key("kek")
    token = world.emulator.credential().get_token(f"{vault.resource}/.default").token
    with connect(world.emulator, vault) as connection, connection.makefile("rb") as answers:
        for _ in range(20):
            connection.sendall(get(vault, token))
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            head = dict(line.split(b": ") for line in iter(answers.readline, b"\r\n"))
            assert b'"kty": "RSA"' in answers.read(int(head[b"Content-Length"]))


def test_two_hundred_connections_are_served_at_once(world: World, vault: Vault) -> None:
    vault.create_key("kek")
    token = world.emulator.credential().get_token(f"{vault.resource}/.default").token
    connections = [connect(world.emulator, vault) for _ in range(200)]
    for connection in connections:
        connection.sendall(get(vault, token, Connection="close"))
    assert {connection.recv(15) for connection in connections} == {b"HTTP/1.1 200 OK"}
    for connection in connections:
        connection.close()


def test_threads_share_one_client(app: Client, vault: Vault) -> None:
    vault.create_key("kek")
    values = [bytes([number]) * 32 for number in range(100)]
    with ThreadPoolExecutor(20) as pool:
        wrapped = list(pool.map(lambda value: app.wrap("kek", value=value), values))
        assert list(pool.map(lambda one: opened(app.unwrap("kek", one)), wrapped)) == values


def test_keys_made_by_many_threads_are_all_there_and_all_different(vault: Vault) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda number: vault.create_key(f"kek-{number % 5}"), range(60)))
    assert len({key.kid for key in made}) == len({key.material.public()["n"] for key in made}) == 60
    assert [len(vault.versions(f"kek-{number}")) for number in range(5)] == [12] * 5


def test_a_dropped_connection_is_reset(world: World, vault: Vault) -> None:
    token = world.emulator.credential().get_token(f"{vault.resource}/.default").token
    vault.faults.drop()
    with connect(world.emulator, vault) as connection:
        connection.sendall(get(vault, token))
        # Beneath TLS, where Python 3.11 still tells a reset from an end.
        with socket.socket(fileno=os.dup(connection.fileno())) as below:
            below.settimeout(30)
            with pytest.raises(ConnectionResetError):
                while below.recv(4096):
                    pass


def test_a_client_that_sends_rubbish_harms_nobody_else(app: Client, vault: Vault, world: World) -> None:
    vault.create_key("kek")
    host, port = vault.url.removeprefix("https://").split(":")
    silent = socket.create_connection((host, int(port)), 30)
    with socket.create_connection((host, int(port)), 30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        app.wrap("kek")
    with connect(world.emulator, vault) as connection:
        connection.sendall(b"rubbish\r\n\r\n")
        assert b"400" in connection.recv(4096)
    with connect(world.emulator, vault) as connection:
        connection.sendall(b"POST /keys/kek HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"413" in connection.recv(4096)
    app.wrap("kek")
    silent.close()


def in_a_child(work: object) -> int:
    """Run this in a forked child, and return the child's exit code."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_forked_children_are_clients_and_cannot_stop_the_emulator(own: KeyVaultEmulator) -> None:
    vault = own.vault("forked")
    vault.create_key("kek")
    ca_file, url, options = Path(own.ca_file), vault.url, own.client_options

    def child() -> None:
        with own.credential() as credential, Client(url, credential, **options) as client:
            assert opened(client.unwrap("kek", client.wrap("kek"))) == DEK
        for steer in (vault.faults.down, vault.faults.clear, lambda: own.vault("another")):
            with pytest.raises(ConfigurationError, match="parent process"):
                steer()
        own.stop()

    assert [in_a_child(child) for _ in range(3)] == [0, 0, 0]
    assert ca_file.exists()
    with own.credential() as credential, KeyClient(url, credential, **options) as client:
        assert client.get_key("kek").name == "kek"
    assert own.requests.count(operation="unwrapKey", status=200) == 3


def test_a_child_that_lives_on_keeps_nothing_open(own: KeyVaultEmulator) -> None:
    vault = own.vault("forked")
    vault.create_key("kek")
    token = own.credential().get_token(f"{vault.resource}/.default").token
    with connect(own, vault) as connection:
        leave, stay = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(stay)
            os.read(leave, 1)
            os._exit(0)
        try:
            vault.faults.drop(times=1)
            connection.sendall(get(vault, token))
            assert connection.recv(4096) == b""
            vault.faults.down()
            with pytest.raises(ConnectionRefusedError):
                connect(own, vault)
            vault.faults.clear()
            connect(own, vault).close()
        finally:
            os.close(stay)
            os.close(leave)
            os.waitpid(child, 0)


def serving() -> set[threading.Thread]:
    """The threads of emulators: those of other tests come and go."""
    names = ("(serve_forever)", "(process_request_thread)")
    return {one for one in threading.enumerate() if one.name.endswith(names)}


def test_a_stopped_emulator_leaves_nothing_behind() -> None:
    before = serving()
    with KeyVaultEmulator() as emulator:
        vault = emulator.vault("brief")
        vault.create_key("kek")
        folder = emulator.ca_file.parent
        vault.faults.delay(60)
        token = emulator.credential().get_token(f"{vault.resource}/.default").token
        waiting = connect(emulator, vault)
        waiting.sendall(get(vault, token))
        idle = connect(emulator, vault)
        assert serving() > before
        emulator.stop()
    assert serving() <= before and not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        connection = vault.url.removeprefix("https://").split(":")
        socket.create_connection((connection[0], int(connection[1])), 30)
    with pytest.raises(ConfigurationError, match="not running"):
        emulator.ca_file  # noqa: B018
    with pytest.raises(ConfigurationError, match="started before"):
        emulator.start()
    waiting.close()
    idle.close()


def test_an_emulator_can_have_a_port_that_is_chosen(own: KeyVaultEmulator) -> None:
    with KeyVaultEmulator() as other:
        port = int(other.authority.rpartition(":")[2])
    with KeyVaultEmulator(port=port) as chosen:
        assert chosen.authority.endswith(f":{port}") and chosen.vault("acme").url.endswith(f":{port}")
    before = serving()
    with pytest.raises(OSError, match="in use"):
        KeyVaultEmulator(port=int(own.authority.rpartition(":")[2])).start()
    assert serving() <= before


def test_where_there_is_one_address_each_vault_has_a_port() -> None:
    with KeyVaultEmulator(one_address=True) as emulator, emulator.credential() as credential:
        urls = set()
        for name in ("acme", "globex"):
            vault = emulator.vault(name)
            vault.create_key("kek")
            with KeyClient(vault.url, credential, **emulator.client_options) as client:
                assert client.get_key("kek").id.startswith(vault.url)
            urls.add(vault.url)
        assert len(urls) == 2 and all(url.startswith("https://127.0.0.1:") for url in urls)


def test_a_mistake_in_the_emulator_is_an_answer_and_a_traceback(
    emulator: KeyVaultEmulator,
    vault: Vault,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(request: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(vault, "respond", fail)
    answer = requests.get(f"{vault.url}/keys", verify=str(emulator.ca_file), timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "EmulatorError")
    assert "RuntimeError: a mistake" in capfd.readouterr().err
