"""Locking a tenant: every process closes its keys within seconds, whatever the KEK says."""

import time
from pathlib import Path

import pytest

from sqlalchemy_cmk import KeyLocked, KeyRevoked, TamperedError
from sqlalchemy_cmk.keys.model import TenantState
from tests.keys.conftest import statements
from tests.support.databases import Database
from tests.support.world import World
from tests.support.worlds import is_shut, looks, until, with_notes


def state(world: World, tenant: str = "acme") -> TenantState:
    return next(line.state for line in world.keyring.status() if line.tenant == tenant)


@pytest.fixture
def clinics(world: World) -> World:
    return with_notes(world)


@pytest.fixture
def clinic(lite: World) -> World:
    return with_notes(lite)


def test_a_locked_tenant_is_shut_until_it_is_unlocked_and_others_are_not(clinics: World) -> None:
    clinics.keyring.lock("acme", reason="a laptop was stolen")
    clinics.provider.calls.clear()
    with pytest.raises(KeyLocked, match="tenant 'acme' is locked") as locked:
        clinics.read("acme")
    assert isinstance(locked.value, KeyRevoked) and locked.value.tenant == "acme"
    with pytest.raises(KeyLocked):
        clinics.write("acme", "more")
    with pytest.raises(KeyLocked):
        clinics.write("acme", "a code, whose DEK is not made yet", table=clinics.codes)
    assert clinics.provider.calls == [] and clinics.read("globex") == ["globex"]
    line = clinics.keyring.status(["acme"])[0]
    assert (line.state, line.reason, line.open) == (TenantState.LOCKED, "a laptop was stolen", 0)
    clinics.keyring.unlock("acme", reason="it was found")
    assert clinics.read("acme") == ["acme"] and state(clinics) is TenantState.OK
    events = [(one.event, one.detail) for one in clinics.keyring.audit.entries("acme")]
    assert [one for one in events if one[0] in ("lock", "unlock")] == [
        ("lock", "a laptop was stolen"),
        ("unlock", "it was found"),
    ]
    assert clinics.keyring.audit.verify().problems == ()


def test_another_process_shuts_the_tenant_when_it_looks_and_lets_it_in_again(clinics: World) -> None:
    other = World(clinics.url, clinics.folder)
    assert other.read() == ["acme", "globex"]
    clinics.keyring.lock("acme")
    other.keyring.keys.locks.look()
    assert other.open_deks("acme") == 0 and other.open_deks("globex") == 1
    assert is_shut(other)
    clinics.keyring.unlock("acme")
    other.keyring.keys.locks.look()
    # The refusal of a moment ago is not repeated.
    assert other.read("acme") == ["acme"]
    other.close()


def test_a_process_looks_by_itself_while_it_holds_keys(database: Database, tmp_path: Path) -> None:
    world = with_notes(World(database.url, tmp_path).create())
    other = World(database.url, tmp_path)
    other.restart(clock=time.monotonic, lock_check=0.05, revalidate_after=3600)
    assert other.read("acme") == ["acme"]
    world.keyring.lock("acme")
    until(lambda: is_shut(other))
    world.keyring.unlock("acme")
    until(lambda: not is_shut(other))
    other.close()
    world.close()


def test_a_look_reads_one_row_while_nothing_has_changed(clinic: World) -> None:
    locks = clinic.keyring.keys.locks
    locks.look()
    with looks() as seen, statements() as others:
        locks.look()
    assert len(seen) == 1 and "WHERE cmk_locks.id = " in seen[0] and others == []


def test_a_process_looks_once_in_each_lock_check_however_much_it_reads(clinic: World) -> None:
    clinic.restart(lock_check=2, revalidate_after=10_000)
    locks = clinic.keyring.keys.locks
    with looks() as seen:
        for _ in range(60):
            assert clinic.read() == ["acme", "globex"]
            locks.ring()
            until(lambda: not locks.is_looking)
            clinic.now += 1
    # The first finds that it has not seen the row yet, and reads which tenants are locked.
    assert len(seen) == 29


def test_a_process_that_holds_no_key_looks_at_nothing(clinic: World) -> None:
    clinic.restart(lock_check=2)
    locks = clinic.keyring.keys.locks
    assert clinic.read("acme") == ["acme"] and locks.ring() == clinic.now + 2
    clinic.keyring.forget()
    clinic.now += 2
    with looks() as seen:
        assert locks.ring() is None and not locks.is_looking
    assert seen == []


def test_a_key_that_is_being_opened_while_its_tenant_is_locked_is_not_used(clinic: World) -> None:
    other = World(clinic.url, clinic.folder)
    other.read("globex")

    def lock(kek_uri: str) -> None:
        other.provider.fault = lambda kek_uri: None
        clinic.keyring.lock("acme")
        other.keyring.keys.locks.look()

    other.provider.fault = lock
    assert is_shut(other) and other.open_deks("acme") == 0
    other.close()


def test_a_tenant_that_was_unlocked_while_a_process_held_no_key_opens_there(clinic: World) -> None:
    other = World(clinic.url, clinic.folder)
    other.read("acme")
    clinic.keyring.lock("acme")
    other.keyring.keys.locks.look()
    assert is_shut(other)
    clinic.keyring.unlock("acme")
    assert other.keyring.keys.locks.ring() is None
    assert other.read("acme") == ["acme"]
    other.close()


def test_keys_are_dropped_where_locks_cannot_be_seen_for_longer_than_the_grace(clinic: World) -> None:
    clinic.restart(revalidate_after=10_000, lock_check=2)
    locks = clinic.keyring.keys.locks
    assert clinic.read("acme") == ["acme"]
    clinic.execute("ALTER TABLE cmk_locks RENAME TO away")
    for passed, open_then in ((290, 1), (20, 0)):
        clinic.now += passed
        for _ in range(2):
            locks.ring()
            until(lambda: not locks.is_looking)
            clinic.now += 2
        locks.ring()
        assert clinic.open_deks("acme") == open_then
    # Its own record can be read: the tenant is not locked.
    assert clinic.read("acme") == ["acme"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_keys_are_dropped_while_a_look_hangs_for_longer_than_the_grace(clinics: World) -> None:
    clinics.restart(revalidate_after=10_000, lock_check=2)
    locks = clinics.keyring.keys.locks
    assert clinics.read("acme") == ["acme"]
    with clinics.engine.connect() as hanging:
        hanging.exec_driver_sql("LOCK TABLE cmk_locks IN ACCESS EXCLUSIVE MODE")
        for passed, open_then in ((2, True), (290, True), (20, False)):
            clinics.now += passed
            locks.ring()
            assert locks.is_looking and ("acme" in clinics.keyring.opened.tenants()) is open_then
    until(lambda: not locks.is_looking)


def test_what_the_kek_says_does_not_unlock(clinic: World) -> None:
    def refuse(kek_uri: str) -> None:
        raise KeyRevoked("the key is disabled")

    clinic.keyring.lock("acme")
    clinic.provider.fault = refuse
    clinic.keyring.kek_uses(["acme"])
    assert state(clinic) is TenantState.LOCKED
    clinic.provider.fault = lambda kek_uri: None
    clinic.keyring.kek_uses(["acme"])
    assert state(clinic) is TenantState.LOCKED


def test_a_locked_tenants_keys_are_not_changed_but_can_be_shredded(clinic: World) -> None:
    keyring = clinic.keyring
    keyring.lock("acme")
    for change in (
        lambda: keyring.assign("acme", "local:pmk"),
        lambda: keyring.lifecycle.rotate_dek("acme"),
        lambda: keyring.lifecycle.add_wrapping("acme", "local:second"),
    ):
        with pytest.raises(KeyLocked):
            change()
    assert state(clinic) is TenantState.LOCKED
    keyring.lifecycle.shred("acme", confirm="acme")
    assert state(clinic) is TenantState.SHREDDED
    with pytest.raises(KeyRevoked, match="was shredded"):
        keyring.unlock("acme")


def test_a_tenant_that_is_unlocked_in_the_table_alone_is_tampered_with(clinic: World) -> None:
    clinic.keyring.lock("acme")
    clinic.execute("UPDATE cmk_tenants SET state = 'ok', reason = NULL WHERE tenant = 'acme'")
    clinic.restart()
    with pytest.raises(TamperedError, match="state was changed"):
        clinic.read("acme")


def test_other_processes_drop_the_keys_of_a_shredded_tenant_too(clinic: World) -> None:
    other = World(clinic.url, clinic.folder)
    other.read("acme")
    clinic.keyring.lifecycle.shred("acme", confirm="acme")
    other.keyring.keys.locks.look()
    assert other.open_deks("acme") == 0
    other.close()


def test_a_fault_of_the_librarys_own_in_a_look_is_logged_and_the_next_look_is_made(
    clinic: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clinic.restart(lock_check=2)
    watch = clinic.keyring.keys.locks
    look, looked = watch.look, list[bool]()

    def fail_once() -> None:
        looked.append(True)
        if len(looked) == 1:
            raise ZeroDivisionError
        look()

    monkeypatch.setattr(watch, "look", fail_once)
    for number in (1, 2):
        assert clinic.read("acme") == ["acme"]
        clinic.now += 2
        watch.ring()
        until(lambda number=number: len(looked) >= number and not watch.is_looking)
    assert "in a way that it should not: ZeroDivisionError" in caplog.text
    assert "it can be seen again" in caplog.text
