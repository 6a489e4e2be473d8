"""Keys leave memory when their time is over, whether anybody asks or not."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.ciphers import ColumnCipher
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.runtime.clock import elapsed
from tests.keys.processes import in_fork
from tests.keys.test_outages import GRACE, RETRY, REVALIDATE, away
from tests.support.waiting import until
from tests.support.world import World

DAY = 86_400


def found(kind: type) -> list[Any]:
    """The objects of a kind that are anywhere in this process, without those of other tests."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kind)]


def in_memory() -> set[str]:
    """The tenants whose opened DEKs are in memory."""
    return {one.tenant for one in found(OpenedDek)}


def alarms() -> int:
    """The threads that wait for a deadline."""
    return sum(one.name == "cmk-alarm" for one in found(threading.Thread) if one.is_alive())


@pytest.fixture(autouse=True)
def without_others() -> None:
    """Leave out what other tests have left in this process: neither collected nor listed."""
    gc.collect()
    gc.freeze()


def test_a_key_that_nobody_uses_leaves_memory_when_its_deadline_passes(lite: World) -> None:
    lite.write("acme", "one")
    assert lite.read() == ["one"] and in_memory() == {"acme"}
    lite.now += REVALIDATE - 1
    lite.keyring.opened.sweep()
    assert in_memory() == {"acme"}
    lite.now += 2
    until(lambda: len(lite.keyring.opened) == 0)
    assert in_memory() == set()
    assert lite.read() == ["one"]


def test_thirty_days_later_nothing_is_left(lite: World) -> None:
    lite.write("acme", "one")
    lite.write("globex", "code", table=lite.codes)
    lite.now += 30 * DAY
    until(lambda: in_memory() == set())


def test_on_the_clock_of_the_machine_it_leaves_too(make_lite: Callable[..., World]) -> None:
    world = make_lite(revalidate_after=0.5, clock=elapsed)
    world.write("acme", "one")
    until(lambda: in_memory() == set())
    assert world.read() == ["one"]


def test_a_machine_that_slept_finds_its_keys_expired(
    make_lite: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it sleeps time.monotonic stands still, and a clock that counts goes on."""
    stands_still = time.monotonic()
    slept = [0.0]
    world = make_lite(clock=lambda: stands_still + slept[0])
    world.keyring.assign("acme", "local:acme")
    world.write("acme", "one")
    world.provider.disable("local:acme")
    assert world.read() == ["one"]
    slept[0] = 8 * 3600
    with pytest.raises(KeyRevoked):
        world.read()
    assert in_memory() == set()


def test_a_key_in_use_is_there_when_an_outage_is_found_out(lite: World) -> None:
    lite.write("acme", "one")
    lite.now += REVALIDATE - 10
    assert lite.read() == ["one"]
    lite.provider.fault = away
    lite.now += REVALIDATE - 10  # 280 seconds after its deadline, 290 after its last use
    for _ in range(2):
        lite.keyring.opened.sweep()
    assert lite.read() == ["one"]


def test_a_key_that_nobody_uses_leaves_memory_during_an_outage_too(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.fault = away
    lite.now += REVALIDATE
    assert lite.read() == ["one"]
    lite.now += RETRY
    lite.keyring.opened.sweep()
    assert lite.read() == ["one"]
    lite.now += REVALIDATE + 1
    until(lambda: in_memory() == set())
    with pytest.raises(KeyUnavailable):
        lite.read()


def test_no_key_outlives_its_grace(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.fault = away
    for _ in range(GRACE // RETRY - 1):
        lite.now += RETRY
        assert lite.read() == ["one"]
    lite.now += RETRY + 1
    until(lambda: in_memory() == set())


def test_without_grace_a_key_in_use_leaves_at_its_deadline(make_lite: Callable[..., World]) -> None:
    world = make_lite(outage_grace=0)
    world.write("acme", "one")
    world.now += REVALIDATE - 1
    assert world.read() == ["one"]
    world.now += 2
    until(lambda: in_memory() == set())


def test_a_key_whose_kek_is_being_asked_stays_for_the_answer(lite: World) -> None:
    lite.write("acme", "one")
    asked, answered = threading.Event(), threading.Event()

    def hang(kek_uri: str) -> None:
        asked.set()
        assert answered.wait(30)
        away(kek_uri)

    lite.provider.fault = hang
    lite.now += REVALIDATE
    seen: list[list[str]] = []
    reader = threading.Thread(target=lambda: seen.append(lite.read()))
    reader.start()
    try:
        assert asked.wait(30)
        lite.now += 2 * REVALIDATE
        for _ in range(3):
            lite.keyring.opened.sweep()
    finally:
        answered.set()
        reader.join(30)
    assert seen == [["one"]] and in_memory() == {"acme"}


def test_a_result_that_is_open_holds_no_key_between_two_batches(lite: World) -> None:
    lite.write("acme", "one", "two")
    columns = lite.notes.c
    with lite.engine.connect() as connection:
        result = connection.execute(select(columns.owner, columns.text).order_by(columns.id))
        assert result.fetchone() == ("acme", "one")
        lite.keyring.forget()
        assert in_memory() == set() and found(ColumnCipher) == []
        assert result.fetchone() == ("acme", "two")


def test_the_thread_ends_when_nothing_is_open_and_with_its_keyring(lite: World) -> None:
    keyring = lite.new_keyring()
    keyring.active("acme", Purpose.RANDOMIZED)
    assert alarms() == 1
    keyring.forget()
    until(lambda: alarms() == 0)
    keyring.active("acme", Purpose.RANDOMIZED)
    assert alarms() == 1
    keyring.close()
    until(lambda: alarms() == 0)


def test_a_keyring_that_nobody_holds_is_collected_and_its_thread_ends(lite: World) -> None:
    keyring = lite.new_keyring(clock=elapsed)
    keyring.active("acme", Purpose.RANDOMIZED)
    opened = weakref.ref(keyring.opened)
    assert alarms() == 1
    keyring.keys.background.close()
    del keyring
    until(lambda: gc.collect() >= 0 and opened() is None and alarms() == 0)


def test_a_forked_child_drops_what_it_inherited(lite: World) -> None:
    lite.write("acme", "one")

    def child() -> bool:
        assert len(lite.keyring.opened) == 1
        lite.now += REVALIDATE + 1
        until(lambda: len(lite.keyring.opened) == 0)
        return True

    assert in_fork(child)
    assert len(lite.keyring.opened) == 1
