"""One who controls the network between the application and a vault: cuts it, slows it, or answers instead."""

import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
import trustme

from sqlalchemy_cmk.testing import Vault
from sqlalchemy_cmk.testing.faults import Faults
from tests.adversary.setting import OUTAGE_GRACE, RETRY_AFTER, REVALIDATE_AFTER
from tests.adversary.town import Tenant, Town, host

# Two of them outlast a proof. A key that nobody has used for as long as that leaves memory.
STEP = REVALIDATE_AFTER // 2 + 1


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


class Impostor:
    """A TLS server at a vault's address, with a certificate that the application does not trust."""

    def __init__(self, vault: Vault) -> None:
        name, _, port = host(vault).partition(":")
        certificate = trustme.CA().issue_cert(name)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((name, int(port)))
        self.connections, self.received = 0, b""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Impostor":
        self._socket.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)

    def _serve(self) -> None:
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            self.connections += 1
            try:
                with self._context.wrap_socket(connection, server_side=True) as secure:
                    self.received += secure.recv(4096)
            except OSError:
                connection.close()


def test_is_not_taken_for_the_vault_and_is_sent_nothing(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    town.app.forget()
    with town.away(acme.vault), Impostor(acme.vault) as impostor:
        assert acme.read(number).error == "KeyUnavailable"
        assert impostor.connections > 0 and impostor.received == b""


FAULTS: dict[str, Callable[[Faults], None]] = {
    "connections are refused": lambda faults: faults.down(),
    "connections break": lambda faults: faults.drop(),
    "answers break off": lambda faults: faults.half_answer(),
    "the vault fails": lambda faults: faults.fail(503),
    "the vault throttles": lambda faults: faults.throttle(retry_after=1),
    "a gateway's page refuses": lambda faults: faults.foreign_answer(
        403, "<h1>Forbidden by your gateway</h1>"
    ),
    "a gateway's JSON refuses": lambda faults: faults.foreign_answer(403, {"error": "no route to the vault"}),
    "nothing is found": lambda faults: faults.foreign_answer(404),
    "a page to sign in": lambda faults: faults.foreign_answer(200, "<h1>Sign in</h1>"),
    "all is gone": lambda faults: faults.foreign_answer(410, {"gone": True}),
}


def test_is_an_outage_and_never_a_revocation(town: Town) -> None:
    """Open keys serve on, a key that is not open stays closed, and afterwards all is well."""
    tenants = {name: town.tenant("acme") for name in FAULTS}
    numbers = {name: tenant.add(name="Ann") for name, tenant in tenants.items()}
    try:
        for name, tenant in tenants.items():
            FAULTS[name](tenant.vault.faults)
        for _ in range(2):
            town.app.advance(STEP)
            for name, tenant in tenants.items():
                assert tenant.says(numbers[name]) == "Ann", name
        town.app.forget()
        for name, tenant in tenants.items():
            assert tenant.read(numbers[name]).error == "KeyUnavailable", name
            (row,) = town.sql("SELECT state FROM cmk_tenants WHERE tenant = :name", name=tenant.name)
            assert row["state"] == "ok", name
    finally:
        for tenant in tenants.values():
            tenant.vault.faults.clear()
    for name, tenant in tenants.items():
        comes_back(tenant, numbers[name])


def comes_back(tenant: Tenant, number: int) -> None:
    """A vault that failed is left alone for a moment, and then asked again."""
    end = time.monotonic() + 60
    while (answer := tenant.read(number)).error == "KeyUnavailable" and time.monotonic() < end:
        time.sleep(0.1)
    assert not answer.error, answer


def test_sends_no_request_elsewhere_by_a_redirect(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    evil = town.vault(f"evil-{acme.name}", acme.name)
    for status in (301, 302, 307, 308):
        acme.vault.faults.redirect(f"{evil.url}/keys/kek/0123/unwrapkey", status)
        town.app.forget()
        assert acme.read(number).error == "KeyUnavailable"
        acme.vault.faults.clear()
    assert evil.requests.count() == 0


def test_holds_nobody_for_longer_than_the_bound_by_sending_byte_by_byte(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    other = town.tenant("bystander")
    theirs = other.add(name="as ever")
    town.app.forget()
    acme.vault.faults.drip(0.2)
    began = time.monotonic()
    answers: list[str] = []
    reader = threading.Thread(target=lambda: answers.append(acme.read(number).error))
    reader.start()
    assert other.says(theirs) == "as ever"
    assert reader.is_alive() and answers == []
    reader.join(60)
    assert answers == ["KeyUnavailable"] and time.monotonic() - began < 30
    acme.vault.faults.clear()


def test_stretches_a_revocation_to_the_outage_grace_and_no_further(town: Town, acme: Tenant) -> None:
    """The owner switches the key off, and the network hides it."""
    number = acme.add(name="Ann")
    acme.vault.disable_key("kek")
    with town.away(acme.vault):
        passed = 0.0
        while passed + STEP < OUTAGE_GRACE:
            town.app.advance(STEP)
            passed += STEP
            assert acme.says(number) == "Ann"
        town.app.advance(OUTAGE_GRACE - passed + 1)
        assert acme.read(number).error == "KeyUnavailable"
    town.app.advance(RETRY_AFTER + 1)
    shut_at_last(acme, number)


def shut_at_last(tenant: Tenant, number: int) -> None:
    end = time.monotonic() + 60
    while (answer := tenant.read(number)).error == "KeyUnavailable" and time.monotonic() < end:
        time.sleep(0.1)
    assert answer.error == "KeyRevoked", answer


def test_leaves_a_trace_of_each_ride_out(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    with town.away(acme.vault):
        for _ in range(2):
            town.app.advance(STEP)
            assert acme.says(number) == "Ann"
    query = "SELECT kek_uri FROM cmk_audit WHERE tenant = :name AND event = 'ride_out'"
    end = time.monotonic() + 60
    while not (rows := town.sql(query, name=acme.name)) and time.monotonic() < end:
        time.sleep(0.05)
    assert {row["kek_uri"] for row in rows} == {acme.kek_uri}


def test_stretches_nothing_where_the_tenants_grace_is_zero(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    town.operator.lifecycle.set_grace(acme.name, 0)
    town.app.advance(REVALIDATE_AFTER + 1)
    assert acme.says(number) == "Ann"  # proven again, which is when a process learns of it
    acme.vault.disable_key("kek")
    with town.away(acme.vault):
        town.app.advance(REVALIDATE_AFTER + 1)
        assert acme.read(number).error == "KeyUnavailable"


def test_shuts_a_tenants_data_by_cutting_the_network(town: Town, acme: Tenant) -> None:
    """An outage that lasts is a denial of service, and nothing is lost by it."""
    number = acme.add(name="Ann")
    with town.away(acme.vault):
        town.app.advance(OUTAGE_GRACE + 1)
        assert acme.read(number).error == "KeyUnavailable"
        assert town.app.post(acme.name, name="more").error == "KeyUnavailable"
    comes_back(acme, number)
