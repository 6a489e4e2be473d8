"""One who writes to the database of an application without a record key, or without a list of vaults."""

import pytest

from sqlalchemy_cmk import KekNotAllowed
from tests.adversary.forgeries import PLANTED, planted_dek
from tests.adversary.setting import REVALIDATE_AFTER
from tests.adversary.town import KEK, Tenant, Town, host


@pytest.fixture
def acme(bare_town: Town) -> Tenant:
    return bare_town.tenant("acme")


def test_has_new_deks_wrapped_for_a_vault_of_their_own(bare_town: Town, acme: Tenant) -> None:
    """In a vault of the same cloud: its hosts are trusted, and anyone may rent them."""
    number = acme.add(name="Ann")
    evil = bare_town.vault(f"evil-{acme.name}", acme.name)
    bare_town.change("cmk_tenants", "tenant = :key", acme.name, {"kek_uri": evil.key_uri(KEK)})
    bare_town.operator.lifecycle.rotate_dek(acme.name)
    bare_town.app.forget()
    new = acme.add(name="for the attacker to read")
    assert acme.says(number) == "Ann" and acme.says(new) == "for the attacker to read"
    assert evil.requests.count(operation="wrapKey", status=200) > 0


def test_has_new_values_sealed_under_a_dek_of_their_choice(bare_town: Town, acme: Tenant) -> None:
    acme.add(name="Ann")
    planted_dek(bare_town, acme)
    bare_town.app.forget()
    number = acme.add(name="for the attacker to read")
    assert bytes(bare_town.stored(number))[1:9] == PLANTED


def test_brings_an_old_wrapping_back(bare_town: Town) -> None:
    """That of the platform's key: the customer revokes, and the data still opens."""
    initech = bare_town.tenant("initech", own_key=False)
    number = initech.add(name="Ann")
    old = bare_town.wrappings(initech)
    bare_town.operator.assign(initech.name, initech.kek_uri)
    initech.vault.disable_key(KEK)
    bare_town.app.forget()
    assert initech.read(number).error == "KeyRevoked"
    for row in old:
        bare_town.insert("cmk_wrappings", row)
    bare_town.app.restart()
    assert initech.says(number) == "Ann"


def test_has_nothing_wrapped_by_their_vault_where_there_is_a_list_of_vaults(
    bare_town: Town, acme: Tenant
) -> None:
    """The list alone, without a record key."""
    acme.add(name="Ann")
    evil = bare_town.vault(f"evil-{acme.name}", acme.name)
    bare_town.change("cmk_tenants", "tenant = :key", acme.name, {"kek_uri": evil.key_uri(KEK)})
    keyring = bare_town.keyring(policy=True)
    with pytest.raises(KekNotAllowed, match=host(evil)):
        keyring.lifecycle.rotate_dek(acme.name)
    assert evil.requests.count() == 0
    keyring.close()


def test_talks_an_operator_into_any_vault(bare_town: Town, acme: Tenant) -> None:
    """Or anyone who has the record key: without a list there is nobody who says no."""
    acme.add(name="Ann")
    evil = bare_town.vault(f"evil-{acme.name}", acme.name)
    bare_town.operator.lifecycle.add_wrapping(acme.name, evil.key_uri(KEK))
    assert evil.requests.count(operation="wrapKey", status=200) > 0


def test_gives_no_tenant_another_tenants_dek(bare_town: Town, acme: Tenant) -> None:
    """The check value alone: without the DEK nobody makes one that fits another tenant."""
    globex = bare_town.tenant("globex")
    number, theirs = acme.add(name="Ann"), globex.add(name="Gus")
    (dek,) = bare_town.deks(acme)
    (own,) = bare_town.deks(globex)
    bare_town.change("cmk_deks", "id = :key", own["id"], {"state": "retired", "active_slot": None})
    bare_town.change("cmk_deks", "id = :key", dek["id"], {"tenant": globex.name})
    bare_town.store(theirs, bare_town.stored(number))
    bare_town.app.forget()
    for answer in (globex.read(theirs), bare_town.app.post(globex.name, name="readable by acme")):
        assert answer.error == "TamperedError" and "another key than DEK" in answer.message


def test_keeps_no_revoked_tenant_open_by_a_borrowed_proof(bare_town: Town, acme: Tenant) -> None:
    globex = bare_town.tenant("globex")
    number, theirs = acme.add(name="Ann"), globex.add(name="Gus")
    (borrowed,) = bare_town.wrappings(globex, "randomized")
    (mine,) = bare_town.wrappings(acme, "randomized")
    bare_town.insert("cmk_wrappings", {**borrowed, "dek_id": mine["dek_id"]})
    acme.vault.disable_key(KEK)
    for _ in range(3):
        bare_town.app.advance(REVALIDATE_AFTER + 1)
        assert globex.says(theirs) == "Gus"
    assert acme.read(number).error in ("TamperedError", "KeyRevoked")


@pytest.mark.parametrize(
    "cells",
    [
        {"kek_uri": "https://127.0.0.1:9\\.vault.azure.net/keys/kek"},
        {"kek_uri": "https://x.vault.azure.net@127.0.0.1:9/keys/kek"},
        {"kek_uri": "https://127.0.0.1:9/keys/kek"},
        {"kek_version": "../../secrets/db-password"},
        {"kek_version": "0123/decrypt?x="},
        {"algorithm": "RSA1_5"},
    ],
    ids=lambda cells: str(*cells.values()),
)
def test_steers_no_request_to_a_host_path_or_algorithm_of_their_choice(
    bare_town: Town, acme: Tenant, cells: dict[str, str]
) -> None:
    number = acme.add(name="Ann")
    (dek,) = bare_town.deks(acme)
    asked = acme.vault.requests.count()
    bare_town.change("cmk_wrappings", "dek_id = :key", dek["id"], cells)
    bare_town.app.forget()
    assert acme.read(number).error in ("TamperedError", "ConfigurationError")
    assert acme.vault.requests.count() == asked
