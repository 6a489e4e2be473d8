"""Key Vault and Managed HSM run the contract of every provider; and what is theirs alone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from azure.core.pipeline.transport import RequestsTransport

from sqlalchemy_cmk import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.providers.azure import descriptions
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing import KeyVaultEmulator
from sqlalchemy_cmk.testing.provider_contract import ProviderContract
from tests.providers.places import AzurePlace, hsm_place, vault_place

DEK = Secret(bytes(range(32)))
SOON = 120  # seconds, until what does not happen is given up


class TestKeyVault(ProviderContract):
    @pytest.fixture
    def kek_place(self, emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = vault_place(emulator)
        yield place
        place.close()


class TestPremium(ProviderContract):
    @pytest.fixture
    def kek_place(self, emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = vault_place(emulator, "RSA-HSM")
        yield place
        place.close()


class TestManagedHsm(ProviderContract):
    @pytest.fixture
    def kek_place(self, emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = hsm_place(emulator)
        yield place
        place.close()


class TestAsynchronousCredential(ProviderContract):
    @pytest.fixture
    def kek_place(self, emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
        place = vault_place(emulator)
        place.provider = place.new_provider(credential=emulator.async_credential)
        yield place
        place.close()


def uses(place: AzurePlace) -> list[str]:
    return place.vault.requests.operations()


@pytest.mark.parametrize("kty", ["RSA", "RSA-HSM"])
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_keys_of_every_size_wrap_with_oaep_256(place: AzurePlace, kty: str, bits: int) -> None:
    place.vault.create_key("sized", kty, bits)
    wrapped = place.provider.wrap(place.vault.key_uri("sized"), DEK)
    assert wrapped.algorithm == "RSA-OAEP-256" and len(wrapped.data) == bits // 8
    assert place.provider.unwrap(wrapped) == DEK


def test_a_managed_hsm_wraps_with_aes_over_the_wire(emulator: KeyVaultEmulator) -> None:
    place = hsm_place(emulator)
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    assert wrapped.algorithm == "A256KW" and len(wrapped.data) == 40
    assert place.new_provider().unwrap(wrapped) == DEK
    assert uses(place) == ["get", "wrapKey", "unwrapKey"]
    place.close()


def test_every_wrap_and_unwrap_is_one_request_that_the_vault_sees(place: AzurePlace) -> None:
    provider = place.new_provider(version_check=3600)
    wrappings = [provider.wrap(place.kek_uri, DEK) for _ in range(3)]
    for wrapped in wrappings:
        provider.unwrap(wrapped)
    assert uses(place) == ["get", *["wrapKey"] * 3, *["unwrapKey"] * 3]


def test_three_permissions_are_enough_and_each_is_needed(place: AzurePlace) -> None:
    place.provider.check(place.kek_uri)
    seen = {one.operation for one in place.vault.requests if one.status == 200}
    assert seen == {"get", "wrapKey", "unwrapKey"}
    for one in seen:
        place.vault.revoke(place.emulator.app)
        place.vault.grant(place.emulator.app, seen - {one})
        with pytest.raises(KeyRevoked, match="ForbiddenByPolicy"):
            place.provider.check(place.kek_uri)


def test_without_a_version_the_newest_is_looked_up_again_after_a_while(
    place: AzurePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(descriptions, "elapsed", lambda: clock.now)
    provider = place.new_provider(version_check=300)
    first = provider.wrap(place.kek_uri, DEK)
    place.rotate()
    assert provider.wrap(place.kek_uri, DEK).kek_version == first.kek_version
    clock.now = 300.0
    assert provider.wrap(place.kek_uri, DEK).kek_version == place.vault.versions("clinic-kek")[-1].version


def test_an_identifier_with_a_version_stays_with_it(place: AzurePlace) -> None:
    version = place.vault.versions("clinic-kek")[0].version
    place.rotate()
    pinned = place.vault.key_uri("clinic-kek", version)
    assert place.provider.wrap(pinned, DEK).kek_version == version
    assert place.provider.newest_version(pinned) == version


def test_each_vault_has_the_credential_of_its_directory(place: AzurePlace) -> None:
    asked: list[str] = []

    def credential_for(vault_url: str) -> object:
        asked.append(vault_url)
        return place.emulator.credential()

    provider = place.new_provider(credential_for=credential_for)
    for _ in range(3):
        provider.unwrap(provider.wrap(place.kek_uri, DEK))
    assert asked == [place.vault.url]


@pytest.mark.parametrize("kind", ["credential", "async_credential"])
def test_a_credential_is_made_once_for_all_vaults_and_closed_in_the_end(place: AzurePlace, kind: str) -> None:
    other = vault_place(place.emulator)
    made: list[Any] = []

    def make() -> Any:
        made.append(getattr(place.emulator, kind)())
        return made[-1]

    provider = place.new_provider(credential=make)
    for kek_uri in (place.kek_uri, other.kek_uri):
        provider.check(kek_uri)
    assert len(made) == 1
    close = Mock(wraps=made[0].close)
    made[0].close = close
    provider.close()
    assert close.call_count == 1
    provider.check(place.kek_uri)
    assert len(made) == 2
    other.close()


def test_a_credential_that_was_given_is_not_closed(place: AzurePlace) -> None:
    credential = place.emulator.credential()
    close = Mock(wraps=credential.close)
    credential.close = close
    provider = place.new_provider(credential=credential)
    provider.check(place.kek_uri)
    provider.close()
    assert close.call_count == 0


def test_the_sdks_options_reach_its_clients(place: AzurePlace) -> None:
    class Noting(RequestsTransport):
        sent = 0

        def send(self, *arguments: Any, **options: Any) -> Any:
            self.sent += 1
            return super().send(*arguments, **options)

    transport = Noting(connection_verify=place.emulator.client_options["connection_verify"])
    place.new_provider(transport=transport).check(place.kek_uri)
    assert transport.sent >= 3
    with pytest.raises(KeyUnavailable):
        place.new_provider(proxies={"https": "http://127.0.0.1:9"}).check(place.kek_uri)


def test_what_unwraps_to_anything_but_a_dek_was_tampered_with(place: AzurePlace) -> None:
    with pytest.raises(TamperedError, match="31 bytes"):
        place.provider.unwrap(place.provider.wrap(place.kek_uri, Secret(bytes(31))))


def test_tokens_go_to_trusted_hosts_only(place: AzurePlace) -> None:
    provider = place.new_provider(trusted_hosts=())
    assert not provider.handles(place.kek_uri)
    with pytest.raises(ConfigurationError, match="trusted"):
        provider.wrap(place.kek_uri, DEK)


def test_a_certificate_that_is_not_trusted_is_an_outage(place: AzurePlace) -> None:
    provider = place.new_provider(connection_verify=True)
    with pytest.raises(KeyUnavailable):
        provider.wrap(place.kek_uri, DEK)
    assert uses(place) == []


REVOKED = {
    "disabled": lambda place: place.vault.disable_key("clinic-kek"),
    "no permission": lambda place: place.vault.revoke(place.emulator.app),
    "firewall": lambda place: place.vault.block(),
    "private connections": lambda place: place.vault.block("ForbiddenByConnection"),
    "deleted": lambda place: place.vault.delete_key("clinic-kek"),
    "purged": lambda place: (place.vault.delete_key("clinic-kek"), place.vault.purge_key("clinic-kek")),
    "no unwrapKey": lambda place: place.vault.update_key("clinic-kek", key_ops=["wrapKey"]),
}
UNAVAILABLE = {
    "throttled": lambda place: place.vault.faults.throttle(0.1),
    "throttled without a time": lambda place: place.vault.faults.throttle(None),
    "server error": lambda place: place.vault.faults.fail(500),
    "unavailable": lambda place: place.vault.faults.fail(503),
    "dropped": lambda place: place.vault.faults.drop(),
    "half an answer": lambda place: place.vault.faults.half_answer(),
    "down": lambda place: place.vault.faults.down(),
}


@pytest.mark.parametrize("case", REVOKED)
def test_what_the_owner_does_is_revoked(place: AzurePlace, case: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    REVOKED[case](place)
    with pytest.raises(KeyRevoked, match=place.kek_uri):
        place.provider.unwrap(wrapped)


@pytest.mark.parametrize("case", UNAVAILABLE)
def test_what_the_network_does_is_unavailable(place: AzurePlace, case: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    UNAVAILABLE[case](place)
    with pytest.raises(KeyUnavailable):
        place.provider.unwrap(wrapped)
    place.vault.faults.clear()
    assert place.new_provider().unwrap(wrapped) == DEK


def test_a_vault_that_does_not_answer_in_time_is_unavailable(place: AzurePlace) -> None:
    impatient = place.new_provider(read_timeout=1)
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.delay(3)
    with pytest.raises(KeyUnavailable):
        impatient.unwrap(wrapped)
    place.vault.faults.clear()
    assert place.provider.unwrap(wrapped) == DEK


def test_a_name_that_does_not_resolve_is_unavailable(place: AzurePlace) -> None:
    with pytest.raises(KeyUnavailable):
        place.provider.wrap("https://no-such-vault.vault.azure.net/keys/k", DEK)


def test_a_wrong_secret_is_neither_revoked_nor_unavailable(place: AzurePlace) -> None:
    wrong = place.emulator.credential(secret="not the secret")
    with pytest.raises(CredentialError) as caught:
        place.new_provider(credential=wrong).wrap(place.kek_uri, DEK)
    assert not isinstance(caught.value, KeyRevoked | KeyUnavailable)
    assert "not the secret" not in str(caught.value)


def test_a_sign_in_service_that_is_away_is_unavailable(place: AzurePlace) -> None:
    place.emulator.login.faults.down()
    with pytest.raises(KeyUnavailable):
        place.new_provider().wrap(place.kek_uri, DEK)


def test_an_expired_token_is_renewed(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.emulator.login.expire_tokens(ask_for_claims=True)
    assert place.provider.unwrap(wrapped) == DEK


def test_a_token_that_the_vault_refuses_is_neither_revoked_nor_unavailable(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.emulator.login.expire_tokens()
    with pytest.raises(CredentialError):
        place.provider.unwrap(wrapped)


def test_a_short_throttling_is_waited_for(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.throttle(0.2, times=1)
    began = time.monotonic()
    assert place.provider.unwrap(wrapped) == DEK
    assert time.monotonic() - began >= 0.2


def test_the_wait_for_a_throttled_vault_is_bounded(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.throttle(60)
    began = time.monotonic()
    with pytest.raises(KeyUnavailable):
        place.provider.unwrap(wrapped)
    assert time.monotonic() - began < 60


def test_a_dead_vault_is_not_asked_by_every_thread(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.fail(503)
    place.vault.requests.clear()

    def ask(_: int) -> None:
        with pytest.raises(KeyUnavailable):
            place.provider.unwrap(wrapped)

    for number in range(3):
        ask(number)
    asked = len(place.vault.requests)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))
    assert len(place.vault.requests) <= asked + 4


def test_a_vault_known_to_be_dead_is_tried_once_at_a_time(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.fail(503)
    place.vault.requests.clear()
    for _ in range(2):
        with pytest.raises(KeyUnavailable):
            place.provider.unwrap(wrapped)
    asked = [len(place.vault.requests)]
    deadline = time.monotonic() + SOON
    while len(asked) < 3 and time.monotonic() < deadline:
        with pytest.raises(KeyUnavailable):
            place.provider.unwrap(wrapped)
        if len(place.vault.requests) > asked[-1]:
            asked.append(len(place.vault.requests))
        threading.Event().wait(0.05)
    assert asked == [4, 5, 6]


def test_a_vault_that_comes_back_is_used_again(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.faults.fail(503)
    for _ in range(4):
        with pytest.raises(KeyUnavailable):
            place.provider.unwrap(wrapped)
    place.vault.faults.clear()
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        try:
            assert place.provider.unwrap(wrapped) == DEK
            return
        except KeyUnavailable:
            threading.Event().wait(0.1)
    pytest.fail("the breaker stayed open")


@pytest.mark.parametrize(
    ("changes", "error", "fix"),
    [
        ({"key_ops": ["wrapKey", "unwrapKey"], "enabled": False}, KeyRevoked, "enables"),
        ({"key_ops": ["wrapKey"]}, ConfigurationError, "permitted operations"),
        ({"enabled": False}, KeyRevoked, "enables"),
        ({"expires": 1}, KeyRevoked, "expired"),
        ({"not_before": 4e9}, KeyRevoked, "not valid yet"),
    ],
)
def test_an_unfit_key_is_named_with_its_mend(
    place: AzurePlace, changes: dict[str, object], error: type[CmkError], fix: str
) -> None:
    place.vault.update_key("clinic-kek", **changes)
    with pytest.raises(error, match=fix) as caught:
        place.provider.check(place.kek_uri)
    assert place.kek_uri in str(caught.value)


def test_a_hsm_key_that_is_too_short_is_refused(emulator: KeyVaultEmulator) -> None:
    place = hsm_place(emulator)
    place.vault.create_key("short", "oct-HSM", 128)
    with pytest.raises(ConfigurationError, match="256"):
        place.provider.check(place.vault.key_uri("short"))
    place.close()


def test_one_of_credential_and_credential_for_is_needed() -> None:
    with pytest.raises(ConfigurationError):
        AzureKeyVaultProvider()
