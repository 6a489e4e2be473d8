"""A tenant's life with its KEK in a vault: the keyring, the Azure provider and the SDK, over TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable, Sealed
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.keys.life import Clinic as AnyClinic
from tests.providers.places import AzurePlace, vault_place
from tests.support.databases import Database


class Clinic(AnyClinic):
    """The clinic with the KEK of "acme" in a vault."""

    def __init__(self, url: str, folder: Path, place: AzurePlace, hsm: Vault) -> None:
        super().__init__(url, folder, place.provider)
        self.hsm = hsm
        self.emulator, self.vault = place.emulator, place.vault
        self.write("globex", "ours")
        self.keyring.assign("acme", place.kek_uri)
        self.write("acme", "theirs")


@pytest.fixture
def clinic(database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator) -> Iterator[Clinic]:
    hsm = key_vault_emulator.managed_hsm(uuid4().hex)
    place = vault_place(key_vault_emulator)
    clinic = Clinic(database.url, tmp_path, place, hsm)
    yield clinic
    clinic.close()
    place.close()


TAKEN_AWAY: dict[str, tuple[Callable[[Clinic], None], Callable[[Clinic], None]]] = {
    "disabled": (lambda c: c.vault.disable_key("clinic-kek"), lambda c: c.vault.enable_key("clinic-kek")),
    "deleted": (lambda c: c.vault.delete_key("clinic-kek"), lambda c: c.vault.recover_key("clinic-kek")),
    "no permission": (lambda c: c.vault.revoke(c.emulator.app), lambda c: c.vault.grant(c.emulator.app)),
    "blocked": (lambda c: c.vault.block(), lambda c: c.vault.unblock()),
}


@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_what_is_taken_away_is_shut_in_time_and_comes_back(clinic: Clinic, how: str) -> None:
    take, give = TAKEN_AWAY[how]
    take(clinic)
    assert clinic.read("acme") == ["theirs"]
    clinic.now += 300
    for use in (lambda: clinic.read("acme"), lambda: clinic.write("acme", "more")):
        with pytest.raises(KeyRevoked):
            use()
    assert clinic.read("globex") == ["ours"] and clinic.state() == "revoked"
    give(clinic)
    clinic.now += 15
    assert clinic.read("acme") == ["theirs"] and clinic.state() == "ok"
    events = [entry.event for entry in clinic.keyring.audit.entries("acme")]
    assert events[:2] == ["assign", "wrap"] and {"revoked", "restored"} <= set(events)
    assert clinic.keyring.audit.verify().problems == ()


def test_an_outage_is_ridden_out_and_ends(clinic: Clinic) -> None:
    clinic.vault.faults.down()
    clinic.now += 3599
    assert clinic.read("acme") == ["theirs"] and clinic.state() == "ok"
    clinic.now += 1
    with pytest.raises(KeyUnavailable):
        clinic.read("acme")
    assert clinic.read("globex") == ["ours"] and clinic.state() == "ok"


def test_a_rotated_key_wraps_new_deks_and_rewrap_moves_the_old_ones(clinic: Clinic) -> None:
    old = clinic.vault.versions("clinic-kek")[0].version
    clinic.vault.rotate_key("clinic-kek")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]
    assert clinic.keyring.lifecycle.rewrap().rewrapped == 1
    clinic.vault.disable_key("clinic-kek", old)
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]


def test_a_tenant_moves_from_vault_to_platform_and_to_another_vault(clinic: Clinic) -> None:
    clinic.keyring.assign("acme", "local:pmk")
    clinic.vault.delete_key("clinic-kek")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]
    hsm = clinic.hsm
    hsm.create_key("clinic-kek", tags={"cmk-tenant": "acme"})
    clinic.keyring.assign("acme", hsm.key_uri("clinic-kek"), fresh_dek=True)
    clinic.write("acme", "more")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs", "more"]
    hsm.disable_key("clinic-kek")
    clinic.keyring.forget()
    with pytest.raises(KeyRevoked):
        clinic.read("acme")


def test_a_sealed_value_tells_what_the_vault_said(clinic: Clinic) -> None:
    clinic.vault.disable_key("clinic-kek")
    clinic.keyring.forget()
    (late,) = clinic.read_late("acme")
    assert isinstance(late, Sealed) and "KeyDisabled" in late.reason


def test_reading_asks_the_vault_once_a_period(clinic: Clinic) -> None:
    clinic.vault.requests.clear()
    for period in range(3):
        for _ in range(20):
            clinic.read("acme")
        assert clinic.vault.requests.operations() == ["unwrapKey"] * period
        clinic.now += 300
