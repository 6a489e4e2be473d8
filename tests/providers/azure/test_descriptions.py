"""What is remembered of a key: a refusal never; and whether a missing key was there before."""

import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime.secret import Secret
from tests.providers.places import AzurePlace

DEK = Secret(bytes(range(32)))
HOUR = 3600
UNFIT = {
    "expired": ({"expires": 1}, {"expires": 4e9}),
    "not yet valid": ({"not_before": 4e9}, {"not_before": 1}),
    "lacking an operation": ({"key_ops": ["wrapKey"]}, {"key_ops": ["wrapKey", "unwrapKey"]}),
    "disabled": ({"enabled": False}, {"enabled": True}),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_refused_key_serves_as_soon_as_its_owner_has_corrected_it(place: AzurePlace, case: str) -> None:
    provider = place.new_provider(version_check=HOUR)
    harm, fix = UNFIT[case]
    place.vault.update_key("clinic-kek", **harm)
    for _ in range(2):
        with pytest.raises((KeyRevoked, ConfigurationError)):
            provider.wrap(place.kek_uri, DEK)
    assert place.vault.requests.count(operation="get", status=200) == 2
    place.vault.update_key("clinic-kek", **fix)
    assert provider.unwrap(provider.wrap(place.kek_uri, DEK)) == DEK


def test_a_key_that_expires_while_it_is_remembered_is_asked_about_again(place: AzurePlace) -> None:
    provider = place.new_provider(version_check=HOUR)
    place.vault.update_key("clinic-kek", expires=time.time() + 1)
    provider.newest_version(place.kek_uri)
    place.vault.update_key("clinic-kek", expires=time.time() + HOUR)
    deadline = time.monotonic() + 60
    while place.vault.requests.count(operation="get") < 2 and time.monotonic() < deadline:
        assert provider.wrap(place.kek_uri, DEK)
    assert place.vault.requests.count(operation="get") == 2


def test_a_refused_wrap_and_a_refused_unwrap_forget_the_key(place: AzurePlace) -> None:
    provider = place.new_provider(version_check=HOUR)
    wrapped = provider.wrap(place.kek_uri, DEK)
    place.vault.revoke(place.emulator.app)
    for refused in (lambda: provider.wrap(place.kek_uri, DEK), lambda: provider.unwrap(wrapped)):
        with pytest.raises(KeyRevoked):
            refused()
        place.vault.grant(place.emulator.app)
        before = place.vault.requests.count(operation="get")
        provider.wrap(place.kek_uri, DEK)
        assert place.vault.requests.count(operation="get") == before + 1
        place.vault.revoke(place.emulator.app)


def test_a_keyring_that_forgets_looks_the_newest_version_up(place: AzurePlace, tmp_path: Path) -> None:
    provider = place.new_provider(version_check=HOUR)
    local = LocalKeyProvider(tmp_path / "keys.json")
    engine = create_engine(f"sqlite:///{tmp_path}/keys.db")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[local, provider])
    provider.wrap(place.kek_uri, DEK)
    place.rotate()
    newest = place.vault.versions("clinic-kek")[-1].version
    assert provider.wrap(place.kek_uri, DEK).kek_version != newest
    keyring.forget()
    assert provider.wrap(place.kek_uri, DEK).kek_version == newest
    keyring.close()
    engine.dispose()


def test_a_key_that_never_was_is_told_from_one_that_is_gone(place: AzurePlace) -> None:
    mistyped = place.vault.key_uri("clinic-kej")
    for ask in (place.provider.check, place.provider.ensure):
        with pytest.raises(ConfigurationError, match=r"no such key in this vault.*check its name"):
            ask(mistyped)
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.vault.delete_key("clinic-kek")
    for ask in (place.provider.check, place.provider.ensure):
        with pytest.raises(KeyRevoked, match="deleted: its owner can recover it"):
            ask(place.kek_uri)
    place.vault.purge_key("clinic-kek")
    for use in (lambda: place.provider.unwrap(wrapped), lambda: place.provider.wrap(place.kek_uri, DEK)):
        with pytest.raises(KeyRevoked, match="gone"):
            use()


def test_a_version_that_never_was_is_told_when_it_is_assigned(place: AzurePlace) -> None:
    with pytest.raises(ConfigurationError, match="check its name and version"):
        place.provider.check(place.vault.key_uri("clinic-kek", "0" * 32))


def test_a_vault_that_does_not_say_what_was_deleted_leaves_it_open(place: AzurePlace) -> None:
    body = {"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByRbac"}}}
    place.vault.faults.foreign_answer(403, body, only=["getDeleted"])
    place.vault.delete_key("clinic-kek")
    with pytest.raises(ConfigurationError, match="no such key in this vault, or it was deleted"):
        place.provider.check(place.kek_uri)
