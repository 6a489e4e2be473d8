"""One who owns a tenant's vault: the customer, who may revoke, or somebody who has taken it over."""

import base64
import time

import pytest

from sqlalchemy_cmk import KekNotOwned
from tests.adversary.secrets import deks_of, unwrapped
from tests.adversary.setting import RETRY_AFTER, REVALIDATE_AFTER
from tests.adversary.town import KEK, Tenant, Town


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


@pytest.fixture
def globex(town: Town) -> Tenant:
    return town.tenant("globex")


REVOKED = {
    "disabled": (lambda vault: vault.disable_key(KEK), lambda vault: vault.enable_key(KEK)),
    "deleted": (lambda vault: vault.delete_key(KEK), lambda vault: vault.recover_key(KEK)),
    "blocked": (lambda vault: vault.block(), lambda vault: vault.unblock()),
}


@pytest.mark.parametrize("how", REVOKED)
def test_shuts_their_own_data_within_the_bound_and_nobody_elses(
    town: Town, acme: Tenant, globex: Tenant, how: str
) -> None:
    number, theirs = acme.add(name="Ann", ssn="1"), globex.add(name="Gus")
    take_away, give_back = REVOKED[how]
    take_away(acme.vault)
    town.app.advance(REVALIDATE_AFTER)
    for answer in (
        acme.read(number),
        acme.read(number, "ssn"),
        town.app.post(acme.name, name="more"),
        town.app.get(acme.name, "find", ssn="1"),
    ):
        assert answer.error == "KeyRevoked"
    assert globex.says(theirs) == "Gus"
    give_back(acme.vault)
    town.app.advance(RETRY_AFTER + 1)
    assert acme.says(number) == "Ann"


def test_shuts_a_process_that_has_nothing_open_at_once(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    acme.vault.disable_key(KEK)
    town.app.restart()
    assert acme.read(number).error == "KeyRevoked"


def test_is_served_from_open_keys_until_their_next_proof(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    acme.vault.disable_key(KEK)
    town.app.advance(REVALIDATE_AFTER / 2)
    assert acme.says(number) == "Ann"


def test_shuts_no_values_that_are_under_the_platforms_key(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann", region="the south")
    acme.vault.disable_key(KEK)
    town.app.forget()
    assert acme.read(number).error == "KeyRevoked"
    assert acme.says(number, "region") == "the south"


def test_opens_their_own_deks_and_no_other(town: Town, acme: Tenant, globex: Tenant) -> None:
    """With the database's rows at hand, as after a leak."""
    acme.add(name="Ann")
    globex.add(name="Gus")
    provider = town.operator.provider_of(globex.kek_uri)
    version = globex.vault.versions(KEK)[0].version
    assert len(deks_of(town, globex)) > 0
    for row in town.wrappings(acme):
        with pytest.raises(Exception, match=r"BadParameter|damaged|could not|not unwrap"):
            unwrapped(provider, {**row, "kek_uri": globex.kek_uri, "kek_version": version})


def test_puts_another_key_in_the_place_of_theirs_and_nothing_is_lost(town: Town, acme: Tenant) -> None:
    """Purged, and another of the same name: what it cannot open is shut, and nothing is sealed again."""
    number = acme.add(name="Ann")
    acme.vault.delete_key(KEK)
    acme.vault.purge_key(KEK)
    acme.vault.create_key(KEK)
    town.app.advance(REVALIDATE_AFTER)
    assert acme.read(number).error == "KeyRevoked"
    assert town.app.post(acme.name, name="more").error == "KeyRevoked"
    assert len(town.sql("SELECT id FROM patients WHERE clinic = :name", name=acme.name)) == 1


def test_has_nothing_opened_or_sealed_under_a_key_that_the_vault_answers_instead(
    town: Town, acme: Tenant
) -> None:
    """A vault that answers an unwrap with 32 other bytes, broken or in bad faith."""
    number = acme.add(name="Ann")
    version = acme.vault.versions(KEK)[0]
    value = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    acme.vault.faults.foreign_answer(200, {"kid": version.kid, "value": value}, only=["unwrapKey"])
    try:
        for proof in (town.app.forget, lambda: town.app.advance(REVALIDATE_AFTER)):
            proof()
            assert acme.read(number).error == "TamperedError"
            assert town.app.post(acme.name, name="lost").error == "TamperedError"
    finally:
        acme.vault.faults.clear()
    assert len(town.sql("SELECT id FROM patients WHERE clinic = :name", name=acme.name)) == 1
    town.app.forget()
    assert acme.says(number) == "Ann"


def test_has_no_dek_in_use_that_their_vault_did_not_prove(town: Town, acme: Tenant) -> None:
    """A vault that wraps and then does not unwrap: no row is sealed under what it wrapped."""
    acme.vault.faults.fail(503, only=["unwrapKey"])
    assert town.app.post(acme.name, name="Ann").error == "KeyUnavailable"
    acme.vault.faults.clear()
    assert town.sql("SELECT id FROM patients WHERE clinic = :name", name=acme.name) == []
    assert town.deks(acme) == []


def test_holds_up_no_other_tenant_by_a_vault_that_hangs(town: Town, acme: Tenant, globex: Tenant) -> None:
    number, theirs = acme.add(name="Ann"), globex.add(name="Gus")
    town.app.forget()
    acme.vault.faults.delay(600)
    try:
        began = time.monotonic()
        assert globex.says(theirs) == "Gus"
        assert acme.read(number).error == "KeyUnavailable"
        assert globex.says(theirs) == "Gus"
        assert time.monotonic() - began < 60
    finally:
        acme.vault.faults.clear()


def test_sees_when_the_application_asks(town: Town, acme: Tenant) -> None:
    acme.add(name="Ann")
    asked = acme.vault.requests.count(operation="unwrapKey", status=200)
    town.app.forget()
    acme.add(name="Al")
    assert acme.vault.requests.count(operation="unwrapKey", status=200) > asked


def test_keeps_the_deks_that_they_have_unwrapped_once(town: Town, acme: Tenant) -> None:
    """A revocation takes no DEK from anyone who has kept it: rows have to be re-encrypted under another."""
    number = acme.add(name="Ann")
    kept = deks_of(town, acme)
    other = town.vault(f"newer-{acme.name}", acme.name)
    town.allow(acme, other)
    town.operator.assign(acme.name, other.key_uri(KEK))
    provider = town.operator.provider_of(other.key_uri(KEK))
    assert kept == {unwrapped(provider, row) for row in town.wrappings(acme)}
    town.app.forget()
    assert acme.says(number) == "Ann"


def test_is_given_no_key_of_another_tenants(town: Town, acme: Tenant, globex: Tenant) -> None:
    """Named as their own to an operator whose list of vaults has it by mistake."""
    number = acme.add(name="Ann")
    town.allow(acme, globex.vault)
    used = globex.vault.requests.count(operation="wrapKey")
    with pytest.raises(KekNotOwned):
        town.operator.assign(acme.name, globex.kek_uri)
    assert globex.vault.requests.count(operation="wrapKey") == used
    assert acme.says(number) == "Ann"
