"""Riding out an outage: for how long, for whom, and what is recorded; and who learns of refusals."""

from datetime import timedelta

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.doctor import check_keys
from sqlalchemy_cmk.keys.model import TenantState
from tests.support.world import World


def away(kek_uri: str) -> None:
    raise KeyUnavailable("the vault is away")


def state(world: World, tenant: str) -> TenantState:
    return next(line.state for line in world.keyring.status() if line.tenant == tenant)


def events(world: World, event: str) -> list[tuple[str, str]]:
    return [(one.tenant, one.detail) for one in world.keyring.audit.entries() if one.event == event]


@pytest.fixture
def clinics(world: World) -> World:
    """acme and globex, with a KEK and a note each, opened."""
    for tenant in ("acme", "globex"):
        world.keyring.assign(tenant, f"local:{tenant}")
        world.write(tenant, tenant)
    return world


def test_a_tenant_without_grace_is_shut_when_its_proof_is_due_and_others_ride_on(clinics: World) -> None:
    clinics.keyring.lifecycle.set_grace("acme", 0)
    assert clinics.read() == ["acme", "globex"]
    clinics.provider.fault = away
    clinics.now += 299
    assert clinics.read() == ["acme", "globex"]
    clinics.now += 2
    with pytest.raises(KeyUnavailable):
        clinics.read("acme")
    assert clinics.read("globex") == ["globex"]
    clinics.now += 3297
    assert clinics.read("globex") == ["globex"]
    clinics.now += 3
    with pytest.raises(KeyUnavailable):
        clinics.read("globex")


def test_another_process_learns_of_a_tenants_grace_when_its_proof_is_due(clinics: World) -> None:
    other = World(clinics.url, clinics.folder)
    assert other.read("acme") == ["acme"]
    clinics.keyring.lifecycle.set_grace("acme", timedelta(minutes=10))
    other.provider.fault = away
    other.now += 301
    assert other.read("acme") == ["acme"]
    other.now += 300
    with pytest.raises(KeyUnavailable):
        other.read("acme")
    other.close()


def test_a_grace_may_be_longer_than_the_keyrings_and_may_be_given_back(clinics: World) -> None:
    lifecycle = clinics.keyring.lifecycle
    lifecycle.set_grace("acme", 7200)
    lifecycle.set_grace("acme", 7200)
    assert clinics.read("acme") == ["acme"]
    clinics.provider.fault = away
    clinics.now += 7100
    assert clinics.read("acme") == ["acme"]
    lifecycle.set_grace("acme", None)
    assert events(clinics, "set_grace") == [("acme", "7200 s"), ("acme", "the keyring's")]


def test_each_ride_out_is_on_the_audit_trail_once(clinics: World) -> None:
    clinics.provider.fault = away
    for _ in range(5):
        clinics.now += 301
        assert clinics.read("acme") == ["acme"]
    (first,) = events(clinics, "ride_out")
    assert first[0] == "acme" and "at most 3600 s from its last proof" in first[1]
    clinics.provider.fault = lambda kek_uri: None
    clinics.now += 16
    assert clinics.read("acme") == ["acme"]
    clinics.provider.fault = away
    clinics.now += 301
    assert clinics.read("acme") == ["acme"]
    assert len(events(clinics, "ride_out")) == 2


@pytest.mark.parametrize("given", [-1, "long", True, float("nan"), timedelta(seconds=-1)])
def test_a_grace_is_a_duration(clinics: World, given: object) -> None:
    with pytest.raises(ConfigurationError, match="outage_grace is a duration"):
        clinics.keyring.lifecycle.set_grace("acme", given)  # type: ignore[arg-type]


def test_a_grace_of_nobody_makes_no_tenant(clinics: World) -> None:
    with pytest.raises(ConfigurationError, match="no tenant 'acmee' has keys here"):
        clinics.keyring.lifecycle.set_grace("acmee", 0)


@pytest.mark.parametrize("ask", ["a read", "rewrap", "rotate", "the doctor"])
def test_status_learns_of_a_refusal_by_whatever_asked(clinics: World, ask: str) -> None:
    clinics.restart()
    clinics.provider.disable("local:acme")
    if ask == "the doctor":
        check_keys(clinics.keyring)
    elif ask == "rewrap":
        assert set(clinics.keyring.lifecycle.rewrap().failed) == {"acme"}
    else:
        act = {"a read": clinics.read, "rotate": clinics.keyring.lifecycle.rotate_dek}[ask]
        with pytest.raises(KeyRevoked):
            act("acme")  # type: ignore[operator]
    assert (state(clinics, "acme"), state(clinics, "globex")) == (TenantState.REVOKED, TenantState.OK)
    clinics.provider.enable("local:acme")
    check_keys(clinics.keyring)
    assert state(clinics, "acme") is TenantState.OK
    assert [tenant for tenant, _ in events(clinics, "revoked")] == ["acme"]
    assert [tenant for tenant, _ in events(clinics, "restored")] == ["acme"]
