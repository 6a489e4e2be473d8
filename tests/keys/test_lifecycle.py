"""Rotating, rewrapping, adding and dropping KEKs, and shredding: what each leaves behind."""

import time
from collections.abc import Callable

import pytest

from sqlalchemy_cmk import CmkError, ConfigurationError, KeyRevoked, Keyring
from sqlalchemy_cmk.keys.model import Purpose, TenantState
from tests.support.world import World


def keks(world: World) -> set[str]:
    """The KEKs that wrap anything."""
    return {
        kek if isinstance(kek, str) else bytes(kek).decode()
        for (kek,) in world.raw("SELECT DISTINCT kek_uri FROM cmk_wrappings")
    }


def state(world: World, tenant: str) -> TenantState:
    return next(line.state for line in world.keyring.status() if line.tenant == tenant)


def events(world: World, tenant: str) -> list[str]:
    return [entry.event for entry in world.keyring.audit.entries(tenant) if entry.event != "unwrap"]


def test_a_rotated_dek_seals_from_then_on_and_the_old_one_still_opens(world: World) -> None:
    world.write("acme", "old")
    before = world.active("acme")
    world.keyring.lifecycle.rotate_dek("acme")
    world.write("acme", "new")
    assert world.active("acme") != before
    world.restart()
    assert world.read() == ["old", "new"]
    assert [(line.active, line.retired) for line in world.keyring.status()] == [(1, 1)]


def test_another_process_seals_under_the_new_dek_within_revalidate_after(world: World) -> None:
    world.write("acme", "old")
    other = World(world.url, world.folder)
    before = other.active("acme")
    world.keyring.lifecycle.rotate_dek("acme")
    other.now += 300
    assert other.read() == ["old"]
    assert other.active("acme") not in (before, None)
    other.close()


def test_rotation_leaves_deterministic_columns_alone(world: World) -> None:
    world.write("acme", "1", table=world.codes)
    fixed = world.active("acme", Purpose.DETERMINISTIC)
    world.keyring.lifecycle.rotate_dek("acme")
    assert world.active("acme", Purpose.DETERMINISTIC) == fixed
    world.keyring.lifecycle.rotate_dek("acme", "deterministic")
    assert world.active("acme", Purpose.DETERMINISTIC) != fixed
    world.restart()
    assert world.read(table=world.codes) == ["1"]


def test_a_fresh_dek_was_never_wrapped_by_the_old_kek(world: World) -> None:
    world.write("acme", "old")
    backup = world.raw("SELECT dek_id, kek_uri FROM cmk_wrappings")
    world.keyring.assign("acme", "local:acme", fresh_dek=True)
    world.write("acme", "new")
    assert all(bytes(dek_id) != world.active("acme") for dek_id, _ in backup)
    assert keks(world) == {"local:acme"}
    world.restart()
    assert world.read() == ["old", "new"]


def test_rewrap_follows_a_rotated_kek_and_touches_no_row(world: World) -> None:
    world.write("acme", "one")
    world.write("globex", "two")
    rows = world.raw("SELECT text FROM notes ORDER BY id")
    old = world.provider.newest_version("local:pmk")
    world.provider.rotate("local:pmk")
    report = world.keyring.lifecycle.rewrap()
    assert (report.tenants, report.rewrapped, report.failed) == (2, 2, {})
    versions = {version for (version,) in world.raw("SELECT kek_version FROM cmk_wrappings")}
    assert versions == {world.provider.newest_version("local:pmk")} and old not in versions
    assert world.raw("SELECT text FROM notes ORDER BY id") == rows
    assert world.keyring.lifecycle.rewrap().rewrapped == 0
    world.restart()
    assert world.read() == ["one", "two"]


def test_rewrap_goes_on_past_a_tenant_whose_kek_refuses(lite: World) -> None:
    for tenant in ("acme", "globex", "initech"):
        lite.keyring.assign(tenant, f"local:{tenant}")
        lite.write(tenant, tenant)
        lite.provider.rotate(f"local:{tenant}")
    lite.provider.disable("local:globex")
    report = lite.keyring.lifecycle.rewrap()
    assert report.rewrapped == 2 and set(report.failed) == {"globex"}
    with pytest.raises(KeyRevoked):
        lite.keyring.lifecycle.rewrap("globex")
    lite.provider.enable("local:globex")
    assert lite.keyring.lifecycle.rewrap().rewrapped == 1


def test_rewrap_keeps_to_its_rate(lite: World) -> None:
    lite.keyring.warm([f"tenant {number}" for number in range(6)], new=True)
    lite.provider.rotate("local:pmk")
    began = time.monotonic()
    assert lite.keyring.lifecycle.rewrap(rate=20).rewrapped == 6
    assert time.monotonic() - began >= 5 / 20


def test_either_of_two_keks_opens(world: World) -> None:
    world.keyring.assign("acme", "local:west")
    world.write("acme", "one")
    world.keyring.lifecycle.add_wrapping("acme", "local:east")
    world.keyring.lifecycle.add_wrapping("acme", "local:east")
    assert keks(world) == {"local:west", "local:east"}
    for away in ("local:west", "local:east"):
        world.provider.disable(away)
        world.restart()
        assert world.read() == ["one"]
        world.provider.enable(away)
    world.provider.disable("local:west")
    world.provider.disable("local:east")
    world.restart()
    with pytest.raises(KeyRevoked):
        world.read()


def test_a_new_dek_is_wrapped_by_both_keks_too(world: World) -> None:
    world.write("acme", "one")
    world.keyring.lifecycle.add_wrapping("acme", "local:east")
    world.keyring.lifecycle.rotate_dek("acme")
    world.write("acme", "1", table=world.codes)
    assert world.raw("SELECT count(*) FROM cmk_wrappings") == [(6,)]


def test_the_last_kek_cannot_be_dropped(world: World) -> None:
    world.write("acme", "one")
    with pytest.raises(ConfigurationError, match="last KEK"):
        world.keyring.lifecycle.drop_wrapping("acme", "local:pmk")
    world.keyring.lifecycle.add_wrapping("acme", "local:east")
    world.keyring.lifecycle.drop_wrapping("acme", "local:pmk")
    world.keyring.lifecycle.drop_wrapping("acme", "local:pmk")
    assert keks(world) == {"local:east"}
    assert [line.kek_uri for line in world.keyring.status()] == ["local:east"]
    world.restart()
    assert world.read() == ["one"]


def test_a_kek_is_not_dropped_when_the_others_do_not_open(lite: World) -> None:
    lite.write("acme", "one")
    lite.keyring.lifecycle.add_wrapping("acme", "local:east")
    lite.provider.disable("local:east")
    with pytest.raises(KeyRevoked):
        lite.keyring.lifecycle.drop_wrapping("acme", "local:pmk")
    assert keks(lite) == {"local:pmk", "local:east"}


def test_shredding_takes_the_tenants_name_typed_again(world: World) -> None:
    world.write("acme", "one")
    for wrong in ("", "ACME", "globex"):
        with pytest.raises(ConfigurationError):
            world.keyring.lifecycle.shred("acme", confirm=wrong)
    with pytest.raises(ConfigurationError):
        world.keyring.lifecycle.shred("", confirm="")
    assert world.read() == ["one"]


def test_a_shredded_tenant_is_gone_for_ever_and_alone(world: World) -> None:
    world.write("acme", "one")
    world.write("globex", "two")
    world.keyring.lifecycle.shred("acme", confirm="acme")
    world.keyring.lifecycle.shred("acme", confirm="acme")
    assert state(world, "acme") is TenantState.SHREDDED
    assert len(world.raw("SELECT dek_id FROM cmk_wrappings")) == 1
    for use in (
        lambda: world.read("acme"),
        lambda: world.write("acme", "again"),
        lambda: world.keyring.assign("acme", "local:acme"),
        lambda: world.keyring.lifecycle.rotate_dek("acme"),
    ):
        with pytest.raises(KeyRevoked):
            use()
    assert world.read("globex") == ["two"]
    assert events(world, "acme") == ["wrap", "shred"]


def test_another_process_shuts_a_shredded_tenant_within_revalidate_after(world: World) -> None:
    world.write("acme", "one")
    other = World(world.url, world.folder)
    assert other.read() == ["one"]
    world.keyring.lifecycle.shred("acme", confirm="acme")
    other.now += 300
    with pytest.raises(KeyRevoked):
        other.read()
    with pytest.raises(KeyRevoked):
        other.write("acme", "two")
    other.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda keyring: keyring.lifecycle.rotate_dek("nobody"),
        lambda keyring: keyring.lifecycle.rewrap("nobody"),
        lambda keyring: keyring.lifecycle.add_wrapping("nobody", "local:east"),
        lambda keyring: keyring.lifecycle.drop_wrapping("nobody", "local:pmk"),
        lambda keyring: keyring.lifecycle.shred("nobody", confirm="nobody"),
    ],
)
def test_a_tenant_without_keys_is_named(lite: World, change: Callable[[Keyring], None]) -> None:
    with pytest.raises(CmkError, match="nobody"):
        change(lite.keyring)
    assert lite.keyring.status() == []


def test_the_state_of_a_revoked_tenant_is_kept_and_lifted(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    world.provider.disable("local:acme")
    world.keyring.forget("acme")
    with pytest.raises(KeyRevoked):
        world.read()
    line = next(one for one in world.keyring.status() if one.tenant == "acme")
    assert line.state is TenantState.REVOKED and "disabled" in (line.reason or "")
    world.provider.enable("local:acme")
    world.now += 15
    assert world.read() == ["one"]
    line = next(one for one in world.keyring.status() if one.tenant == "acme")
    assert line.state is TenantState.OK and line.reason is None and line.seen_at is not None
    assert events(world, "acme") == ["assign", "wrap", "revoked", "restored"]


def test_one_revocation_is_one_event_whatever_the_number_of_processes(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    world.provider.disable("local:acme")
    for _ in range(3):
        world.restart()
        with pytest.raises(KeyRevoked):
            world.read()
    assert events(world, "acme").count("revoked") == 1
