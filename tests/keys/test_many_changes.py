"""Rewrapping and moving many tenants: side by side, committed together, each with a failure of its own."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.lifecycle import many_changes
from tests.keys.conftest import statements
from tests.support.databases import Database
from tests.support.vaults import SOON, TENANTS, vaults
from tests.support.vaults import town as make_town
from tests.support.world import World


@pytest.fixture
def town(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """Tenants with a note and a vault each; nothing is open."""
    with make_town(sqlite_database.url, tmp_path) as world:
        yield world


def rotate(world: World, *tenants: str) -> None:
    for tenant in tenants:
        world.provider.rotate(f"local:{tenant}")


def wrapped_by(world: World) -> dict[str, set[str]]:
    """The KEKs of each tenant's wrappings."""
    rows = world.raw("SELECT d.tenant, w.kek_uri FROM cmk_wrappings w JOIN cmk_deks d ON d.id = w.dek_id")
    found: dict[str, set[str]] = {}
    for tenant, kek_uri in rows:
        found.setdefault(tenant, set()).add(kek_uri)
    return found


def reads_all(world: World) -> bool:
    world.restart()
    return world.read() == [f"of {one}" for one in TENANTS]


def test_rewrap_asks_sixteen_vaults_at_once_and_commits_together(town: World, no_lull: None) -> None:
    rotate(town, *TENANTS)
    vaults(town).awaited = 16
    with statements() as seen:
        report = town.keyring.lifecycle.rewrap()
    assert (report.tenants, report.rewrapped, report.failed) == (30, 30, {})
    assert vaults(town).most == 16
    assert sum(one.startswith("INSERT INTO cmk_wrappings") for one in seen) == 1
    assert town.keyring.lifecycle.rewrap().rewrapped == 0
    assert town.keyring.audit.verify().problems == () and reads_all(town)


def test_a_kek_of_many_tenants_is_asked_for_its_newest_version_once(lite: World) -> None:
    with make_town(lite.url, lite.folder) as town:
        town.keyring.assign_many(TENANTS, "local:shared")
        town.provider.rotate("local:shared")
        vaults(town).lookups.clear()
        assert town.keyring.lifecycle.rewrap().rewrapped == 30
        assert vaults(town).lookups.count("local:shared") == 1


def test_rewrap_reports_who_fails_and_does_the_rest(town: World) -> None:
    rotate(town, *TENANTS)
    town.provider.disable(f"local:{TENANTS[3]}")

    def fail(kek_uri: str) -> None:
        if kek_uri == f"local:{TENANTS[5]}":
            raise KeyUnavailable("it is away")

    town.provider.fault = fail
    report, done = town.keyring.lifecycle.rewrap(), []
    assert set(report.failed) == {TENANTS[3], TENANTS[5]} and "it is away" in report.failed[TENANTS[5]]
    assert (report.tenants, report.rewrapped) == (28, 28)
    town.provider.enable(f"local:{TENANTS[3]}")
    town.provider.fault = lambda kek_uri: None
    report = town.keyring.lifecycle.rewrap(progress=lambda: done.append(True))
    assert (report.tenants, report.rewrapped, len(done)) == (30, 2, 30)


def test_a_tenant_that_another_process_changes_meanwhile_is_planned_anew(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(town, *TENANTS)
    other = World(town.url, town.folder)
    done: list[bool] = []

    def assign() -> None:
        if not done:
            done.append(True)
            other.keyring.assign(TENANTS[0], "local:elsewhere")

    town.provider.fault = lambda kek_uri: assign()
    assert town.keyring.lifecycle.rewrap().failed == {}
    assert wrapped_by(town)[TENANTS[0]] == {"local:elsewhere"} and done
    other.close()
    assert reads_all(town)


def test_tenants_whose_keys_others_change_all_the_time_are_reported(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_changes, "ATTEMPTS", 2)
    monkeypatch.setattr("sqlalchemy_cmk.keys.storage.store.KeyStore.apply_all", lambda *_, **__: set())
    rotate(town, *TENANTS)
    report = town.keyring.lifecycle.rewrap()
    assert set(report.failed) == set(TENANTS) and "try again" in report.failed[TENANTS[0]]


def test_what_is_wrapped_is_committed_while_a_vault_hangs(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.keys.opening.side_by_side.LULL", 0.05)
    rotate(town, *TENANTS)
    end = threading.Event()
    town.provider.fault = lambda kek_uri: _hang(end) if kek_uri == f"local:{TENANTS[0]}" else None
    reports = []
    running = threading.Thread(target=lambda: reports.append(town.keyring.lifecycle.rewrap()))
    running.start()
    try:
        until = time.monotonic() + SOON
        while town.raw("SELECT count(*) FROM cmk_audit WHERE event = 'rewrap'") != [(29,)]:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        end.set()
        running.join(SOON)
    assert reports[0].rewrapped == 30


def _hang(end: threading.Event) -> None:
    assert end.wait(SOON)


def test_all_tenants_of_a_kek_are_moved_to_another(town: World) -> None:
    def meet(kek_uri: str) -> None:
        if kek_uri != "local:north":  # which is checked alone, before anybody is moved
            vaults(town).awaited = 16
        vaults(town).meet(kek_uri)

    town.provider.fault = meet
    report = town.keyring.assign_many(TENANTS, "local:north")
    assert sorted(report.assigned) == TENANTS and report.failed == {}
    assert set(map(frozenset, wrapped_by(town).values())) == {frozenset({"local:north"})}
    assert {line.kek_uri for line in town.keyring.status(TENANTS)} == {"local:north"}
    assert vaults(town).most == 16
    assert town.keyring.audit.verify().problems == () and reads_all(town)


def test_a_tenant_that_cannot_be_moved_stays_where_it_is(town: World) -> None:
    town.provider.disable(f"local:{TENANTS[3]}")
    town.restart(kek_allowed=lambda tenant, kek_uri: (tenant, kek_uri) != (TENANTS[4], "local:north"))
    report = town.keyring.assign_many(TENANTS, "local:north")
    assert set(report.failed) == {TENANTS[3], TENANTS[4]} and len(report.assigned) == 28
    moved = wrapped_by(town)
    assert moved[TENANTS[3]] == {f"local:{TENANTS[3]}"} and moved[TENANTS[4]] == {f"local:{TENANTS[4]}"}


def test_nobody_is_moved_to_a_kek_that_refuses(town: World) -> None:
    town.provider.ensure("local:north")
    town.provider.disable("local:north")
    with pytest.raises(KeyRevoked):
        town.keyring.assign_many(TENANTS, "local:north")
    assert {"local:north"} not in wrapped_by(town).values()
    with pytest.raises(ConfigurationError, match=r"\['acme'\]"):
        town.keyring.assign_many("acme", "local:north")


def test_each_tenant_that_is_moved_can_have_a_fresh_dek(town: World) -> None:
    town.keyring.assign_many(TENANTS, "local:north", fresh_dek=True)
    assert {(line.active, line.retired) for line in town.keyring.status(TENANTS)} == {(1, 1)}
    assert reads_all(town)


def test_a_run_that_is_stopped_keeps_what_it_has_committed(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_changes, "COMMITTED_TOGETHER", 5)
    rotate(town, *TENANTS)
    done: list[bool] = []

    def stop() -> None:
        done.append(True)
        if len(done) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        town.keyring.lifecycle.rewrap(progress=stop)
    assert town.raw("SELECT count(*) FROM cmk_audit WHERE event = 'rewrap'") == [(10,)]
    assert town.keyring.lifecycle.rewrap().rewrapped == 20
    assert reads_all(town)
