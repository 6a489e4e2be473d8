"""Keys in trouble: outages are ridden out, revocations take effect, altered key tables are named."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from weakref import ref

import pytest
from sqlalchemy import create_engine, text

from sqlalchemy_cmk import CredentialError, KeyRevoked, KeyUnavailable, TamperedError
from tests.keys.conftest import statements
from tests.support.databases import Database
from tests.support.world import World

REVALIDATE, GRACE, RETRY = 300, 3600, 15


def away(kek_uri: str) -> None:
    raise KeyUnavailable("the vault is away")


def test_with_revalidate_after_zero_every_use_is_proven(make_lite: Callable[..., World]) -> None:
    world = make_lite(revalidate_after=0)
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    assert world.read() == ["one"]
    world.provider.disable("local:acme")
    with pytest.raises(KeyRevoked):
        world.read()
    with pytest.raises(KeyRevoked):
        world.write("acme", "two")


def test_a_machine_that_slept_before_it_had_the_answer_asks_again(lite: World) -> None:
    """The KEK may have been revoked meanwhile, longer ago than `revalidate_after`."""
    lite.write("acme", "one")
    slept: list[str] = []

    def sleep_once(kek_uri: str) -> None:
        lite.now += 0 if slept else REVALIDATE
        slept.append(kek_uri)

    lite.provider.calls.clear()
    lite.provider.fault = sleep_once
    lite.now += REVALIDATE
    assert lite.read() == ["one"]
    assert lite.provider.calls == ["unwrap"] * 2


def test_during_an_outage_the_kek_is_asked_now_and_then(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.calls.clear()
    lite.provider.fault = away
    lite.now += REVALIDATE
    for _ in range(10):
        assert lite.read() == ["one"]
    assert lite.provider.calls == ["unwrap"]
    lite.now += RETRY
    for _ in range(10):
        lite.write("acme", "more")
    assert lite.provider.calls == ["unwrap"] * 2


def test_an_outage_ends_when_the_kek_answers(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.fault = away
    lite.now += GRACE - RETRY
    assert lite.read() == ["one"]
    lite.provider.fault = lambda kek_uri: None
    lite.now += RETRY
    assert lite.read() == ["one"]
    lite.provider.fault = away
    lite.now += GRACE - 1
    assert lite.read() == ["one"]


def test_an_outage_outlasts_its_grace_for_nobody(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.fault = away
    for _ in range(GRACE // RETRY - 1):
        lite.now += RETRY
        assert lite.read() == ["one"]
    lite.now += RETRY
    with pytest.raises(KeyUnavailable, match="the vault is away"):
        lite.read()
    with pytest.raises(KeyUnavailable):
        lite.write("acme", "two")
    assert lite.open_deks("acme") == 0
    lite.provider.fault = lambda kek_uri: None
    assert lite.read() == ["one"]


def test_a_key_that_reading_has_opened_is_sealed_with_during_an_outage(lite: World) -> None:
    lite.write("acme", "one")
    lite.restart()
    assert lite.read() == ["one"]
    lite.provider.fault = away
    lite.now += REVALIDATE
    lite.write("acme", "two")
    assert lite.read() == ["one", "two"]


def test_a_key_that_reading_has_proven_anew_is_sealed_with_during_an_outage(lite: World) -> None:
    lite.write("acme", "one")
    lite.now += REVALIDATE
    assert lite.read() == ["one"]
    with statements(lambda statement: pytest.fail(f"the key tables are away too: {statement}")):
        lite.write("acme", "two")
    lite.provider.fault = away
    lite.now += REVALIDATE
    lite.write("acme", "three")


def test_a_kek_that_does_not_answer_holds_up_one_thread_and_no_other(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.fault = away
    lite.now += REVALIDATE
    assert lite.read() == ["one"]
    lite.now += RETRY
    asked, answered = threading.Event(), threading.Event()

    def hang(kek_uri: str) -> None:
        asked.set()
        answered.wait(60)
        away(kek_uri)

    lite.provider.fault = hang
    with ThreadPoolExecutor(2) as pool:
        try:
            held_up = pool.submit(lite.read)
            assert asked.wait(60)
            assert pool.submit(lite.read).result(30) == ["one"]
            pool.submit(lite.write, "acme", "two").result(30)
            assert not held_up.done()
        finally:
            answered.set()
        assert held_up.result(60) == ["one"]


def test_a_caller_who_comes_while_a_proof_is_due_waits_for_it(lite: World) -> None:
    lite.write("acme", "one")
    lite.now += REVALIDATE
    asked, answered = threading.Event(), threading.Event()

    def refuse(kek_uri: str) -> None:
        asked.set()
        answered.wait(60)
        raise KeyRevoked("the owner took it away")

    lite.provider.fault = refuse
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lite.read)
        assert asked.wait(60)
        second = pool.submit(lite.read)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        answered.set()
        for one in (first, second):
            with pytest.raises(KeyRevoked):
                one.result(60)


def test_a_cold_key_has_no_grace(lite: World) -> None:
    lite.write("acme", "one")
    lite.restart()
    lite.provider.fault = away
    with pytest.raises(KeyUnavailable):
        lite.read()
    with pytest.raises(KeyUnavailable):
        lite.keyring.warm(["new"], new=True)


def test_without_grace_an_outage_shuts_at_the_next_proof(make_lite: Callable[..., World]) -> None:
    world = make_lite(outage_grace=0)
    world.write("acme", "one")
    world.provider.fault = away
    world.now += REVALIDATE - 1
    assert world.read() == ["one"]
    world.now += 1
    with pytest.raises(KeyUnavailable):
        world.read()


def test_key_tables_that_cannot_be_reached_are_an_outage_too(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    world = make_lite(engine=create_engine(sqlite_database.url, connect_args={"timeout": 0.05}))
    world.write("acme", "one")
    world.now += REVALIDATE
    with world.engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        assert other.execute(world.notes.select()).one().text == "one"
        world.now += GRACE
        with pytest.raises(KeyUnavailable, match="locked"):
            other.execute(world.notes.select()).all()
        other.rollback()
    assert world.read() == ["one"]


def test_a_revocation_drops_every_key_of_its_tenant_and_no_other(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    world.write("acme", "code", table=world.codes)
    world.write("globex", "two")
    world.provider.disable("local:acme")
    world.now += REVALIDATE
    with pytest.raises(KeyRevoked, match="local:acme is disabled") as caught:
        world.read("acme")
    assert caught.value.tenant == "acme"
    assert world.open_deks("acme") == 0
    with pytest.raises(KeyRevoked):
        world.write("acme", "code", table=world.codes)
    assert world.read("globex") == ["two"] and world.open_deks("globex") == 1


def test_a_restored_kek_serves_without_a_restart(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    world.provider.disable("local:acme")
    world.now += REVALIDATE
    with pytest.raises(KeyRevoked):
        world.read()
    world.provider.enable("local:acme")
    world.now += RETRY
    world.write("acme", "two")
    assert world.read() == ["one", "two"]


def test_a_kek_that_refused_is_not_asked_at_every_use(lite: World) -> None:
    lite.keyring.assign("acme", "local:acme")
    lite.write("acme", "one")
    lite.provider.disable("local:acme")
    lite.now += REVALIDATE
    lite.provider.calls.clear()
    for _ in range(10):
        with pytest.raises(KeyRevoked):
            lite.read()
    assert lite.provider.calls == ["unwrap"]
    lite.now += RETRY
    with pytest.raises(KeyRevoked):
        lite.read()
    assert lite.provider.calls == ["unwrap"] * 2


def test_an_outage_does_not_hide_a_revocation(lite: World) -> None:
    lite.keyring.assign("acme", "local:acme")
    lite.write("acme", "one")
    lite.provider.fault = away
    lite.now += REVALIDATE
    assert lite.read() == ["one"]
    lite.provider.fault = lambda kek_uri: None
    lite.provider.disable("local:acme")
    lite.now += RETRY
    with pytest.raises(KeyRevoked):
        lite.read()


def test_a_credential_that_failed_is_not_taken_for_a_revocation_by_the_other_kek(lite: World) -> None:
    lite.keyring.assign("acme", "local:west")
    lite.write("acme", "one")
    lite.keyring.lifecycle.add_wrapping("acme", "local:east")

    def fault(failing: str, kek_uri: str) -> None:
        if kek_uri == failing:
            raise CredentialError("the sign-in failed")
        raise KeyRevoked("the owner took it away")

    for failing in ("local:west", "local:east"):
        lite.provider.fault = partial(fault, failing)
        lite.keyring.forget()
        with pytest.raises(CredentialError):
            lite.read()
    assert next(line.state for line in lite.keyring.status() if line.tenant == "acme") == "ok"


def test_forget_makes_a_revocation_take_effect_at_once(lite: World) -> None:
    lite.keyring.assign("acme", "local:acme")
    lite.write("acme", "one")
    lite.provider.disable("local:acme")
    assert lite.read() == ["one"]
    lite.keyring.forget("acme")
    with pytest.raises(KeyRevoked):
        lite.read()
    lite.provider.enable("local:acme")
    lite.keyring.forget("acme")
    assert lite.read() == ["one"]


def test_a_dek_whose_row_was_deleted_is_named(world: World) -> None:
    world.write("acme", "one")
    dek_id = world.active("acme")
    world.execute("DELETE FROM cmk_wrappings")
    world.execute("DELETE FROM cmk_deks")
    world.restart()
    assert world.keyring.dek(dek_id) is None
    with pytest.raises(TamperedError, match=rf"notes\.text.*no DEK {dek_id.hex()}"):
        world.read()


def test_a_dek_whose_wrappings_were_deleted_is_named(world: World) -> None:
    world.write("acme", "one")
    dek_id = world.active("acme")
    world.execute("DELETE FROM cmk_wrappings")
    world.restart()
    with pytest.raises(TamperedError, match=f"a wrapping of DEK {dek_id.hex()} was removed"):
        world.read()


def test_a_damaged_wrapping_is_named(world: World) -> None:
    world.write("acme", "one")
    world.execute("UPDATE cmk_wrappings SET wrapped = 'nonsense'")
    world.restart()
    with pytest.raises(TamperedError, match="table of wrappings"):
        world.read()


def test_a_read_asks_a_kek_that_is_away_once(lite: World) -> None:
    lite.write("acme", "one", "two")
    lite.restart()
    lite.provider.fault = away
    for number in range(1, 3):
        with pytest.raises(KeyUnavailable, match="the vault is away"):
            lite.read()
        assert lite.provider.calls == ["unwrap"] * number
    lite.provider.fault = lambda kek_uri: None
    assert lite.read() == ["one", "two"]


def test_an_error_of_a_cold_open_leaves_no_cycle_behind(lite: World) -> None:
    """It would keep the frames that it passed, and a cursor that is open there keeps SQLite's lock."""
    lite.write("acme", "one", "two")
    lite.restart()
    lite.provider.fault = away
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(KeyUnavailable) as caught:
            lite.read()
        error = ref(caught.value)
        del caught
        assert error() is None
    finally:
        gc.enable()
