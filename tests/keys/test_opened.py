"""Opened DEKs: bounded in number and in time, counted, and shared by threads and forks."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.keys.binding.held_keys import HeldKeys
from sqlalchemy_cmk.keys.model import Purpose
from tests.keys.conftest import own_begin, statements
from tests.keys.processes import in_fork
from tests.support.databases import Database
from tests.support.world import World

REVALIDATE = 300


def test_ten_times_more_tenants_than_open_keys_are_served_within_the_bound(
    make_lite: Callable[..., World],
) -> None:
    world = make_lite(max_open_keys=2)
    tenants = [f"tenant {number}" for number in range(20)]
    for tenant in tenants:
        world.write(tenant, f"of {tenant}")
        assert len(world.keyring.opened) <= 2
    assert world.read() == [f"of {tenant}" for tenant in tenants]
    with world.engine.begin() as connection:
        rows = [{"owner": tenant, "text": f"more of {tenant}"} for tenant in tenants]
        connection.execute(world.notes.insert(), rows)
    for tenant in random.sample(tenants, 20):
        assert world.read(tenant) == [f"of {tenant}", f"more of {tenant}"]
        assert len(world.keyring.opened) <= 2
    assert sum(line.open for line in world.keyring.status()) == 2


def test_the_least_recently_used_key_makes_room(make_lite: Callable[..., World]) -> None:
    world = make_lite(max_open_keys=2)
    world.keyring.warm(["acme", "globex"], new=True)
    world.active("acme")
    world.keyring.warm(["initech"], new=True)
    assert [world.open_deks(one) for one in ("acme", "globex", "initech")] == [1, 0, 1]


def test_a_fetch_and_a_statement_over_more_tenants_than_open_keys_unwrap_each_key_once(
    make_lite: Callable[..., World],
) -> None:
    world, metadata = make_lite(max_open_keys=2), MetaData()
    table = Table(
        "pairs",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", String(20)),
        *(Column(name, EncryptedType(String(20))) for name in ("one", "two")),
        info={"cmk_tenant": "owner"},
    )
    world.keyring.protect(metadata)
    metadata.create_all(world.engine)
    tenants = [f"tenant {number}" for number in range(6)]
    world.keyring.warm(tenants, new=True)
    world.keyring.forget()
    for work in (
        lambda connection: connection.execute(
            table.insert(), [{"owner": one, "one": f"1 {one}", "two": f"2 {one}"} for one in 2 * tenants]
        ),
        lambda connection: connection.execute(select(table.c["owner", "one", "two"])).all(),
    ):
        world.keyring.forget()
        world.provider.calls.clear()
        with world.engine.begin() as connection:
            found = work(connection)
        assert world.provider.calls == ["unwrap"] * 6
    assert found == [(one, f"1 {one}", f"2 {one}") for one in 2 * tenants]


def test_what_is_held_is_asked_for_anew_once_expired_or_dropped(
    make_lite: Callable[..., World],
) -> None:
    world = make_lite(max_open_keys=1)
    dek_id = world.active("acme")
    held = HeldKeys(world.keyring.keys)
    assert held.active("acme", Purpose.RANDOMIZED) is held.dek(dek_id)
    world.keyring.warm(["globex"], new=True)
    world.provider.calls.clear()
    held.dek(dek_id), held.active("acme", Purpose.RANDOMIZED)
    assert world.provider.calls == []
    world.now += REVALIDATE
    held.dek(dek_id)
    world.keyring.forget("acme")
    held.dek(dek_id)
    assert world.provider.calls == ["unwrap"] * 2


def test_one_open_key_is_enough_for_both_purposes(make_lite: Callable[..., World]) -> None:
    world = make_lite(max_open_keys=1)
    for _ in range(2):
        world.write("acme", "note")
        world.write("acme", "code", table=world.codes)
    assert world.read() == ["note"] * 2 and world.read(table=world.codes) == ["code"] * 2


def test_a_key_is_proven_anew_once_when_its_time_has_come(world: World) -> None:
    world.write("acme", "one")
    world.provider.calls.clear()
    world.now += REVALIDATE - 1
    world.write("acme", "two")
    assert world.read() == ["one", "two"] and world.provider.calls == []
    world.now += 1
    world.write("acme", "three")
    assert world.read() == ["one", "two", "three"]
    assert world.provider.calls == ["unwrap"]


def test_a_hundred_threads_prove_an_expired_key_once(lite: World) -> None:
    lite.write("acme", "one")
    lite.provider.calls.clear()
    lite.now += REVALIDATE
    barrier = threading.Barrier(100)

    def ask(number: int) -> str:
        barrier.wait(60)
        return lite.read()[0] if number % 2 else lite.keyring.active("acme", Purpose.RANDOMIZED).tenant

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(ask, range(100))) == {"one", "acme"}
    assert lite.provider.calls == ["unwrap"]


def test_with_jitter_a_proof_comes_earlier_and_never_later(make_lite: Callable[..., World]) -> None:
    world = make_lite(revalidation_jitter=0.1)
    deadlines = set()
    for number in range(50):
        deadlines.add(world.keyring.active(f"tenant {number}", Purpose.RANDOMIZED).deadline - world.now)
    assert len(deadlines) > 10 and min(deadlines) >= 0.9 * REVALIDATE and max(deadlines) <= REVALIDATE


def test_the_first_use_of_a_tenant_costs_one_call_and_two_statements(world: World) -> None:
    world.write("acme", "one")
    world.restart()
    with statements() as seen:
        world.write("acme", "two")
        assert world.read() == ["one", "two"]
    assert world.provider.calls == ["unwrap"] and len(seen) <= 2


def test_the_first_use_of_both_purposes_costs_one_call_each(world: World) -> None:
    world.write("acme", "one")
    world.write("acme", "code", table=world.codes)
    world.restart()
    for _ in range(3):
        assert world.read() == ["one"] and world.read(table=world.codes) == ["code"]
    assert world.provider.calls == ["unwrap"] * 2


def test_an_open_key_costs_nothing(world: World) -> None:
    world.write("acme", "one")
    world.provider.calls.clear()
    with statements() as seen:
        for _ in range(10):
            world.write("acme", "more")
            world.read()
    assert seen == [] and world.provider.calls == []


def test_opening_a_key_writes_nothing_where_its_caller_may_hold_the_lock(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url, connect_args={"timeout": 0.05})
    own_begin(engine)
    world = make_lite(engine=engine)
    world.write("acme", "one")
    world.restart()
    reader, wrote = threading.get_ident(), []

    def note(statement: str) -> None:
        if threading.get_ident() == reader and not statement.startswith("SELECT"):
            wrote.append(statement)

    with statements(note):
        assert world.read() == ["one"]
    assert wrote == []


def test_forget_drops_the_keys_of_one_tenant_or_of_all(lite: World) -> None:
    lite.keyring.warm(["acme", "globex", "", 7], new=True)
    lite.keyring.forget("acme")
    assert [lite.open_deks(one) for one in ("", "7", "acme", "globex")] == [1, 1, 0, 1]
    lite.keyring.forget("")
    lite.keyring.forget(7)
    assert [lite.open_deks(one) for one in ("", "7", "acme", "globex")] == [0, 0, 0, 1]
    lite.keyring.forget()
    assert lite.open_deks("globex") == 0 and len(lite.keyring.opened) == 0


def test_a_forked_child_goes_on_with_the_keys_that_are_open(world: World) -> None:
    world.write("acme", "one")
    world.engine.dispose()
    calls = len(world.provider.calls)

    def in_child() -> bool:
        world.engine.dispose(close=False)
        world.write("acme", "two")
        world.write("new", "three")
        good = world.read() == ["one", "two", "three"]
        return good and world.provider.calls[calls:] == ["wrap", "unwrap"]

    assert in_fork(in_child)
    world.write("acme", "four")
    world.write("new", "five")
    assert world.read() == ["one", "two", "three", "four", "five"]


def test_a_forked_child_is_not_held_up_by_what_its_parents_threads_were_doing(lite: World) -> None:
    lite.write("acme", "one")
    lite.restart()
    asked, answer = threading.Event(), threading.Event()

    def wait(kek_uri: str) -> None:
        asked.set()
        assert answer.wait(60)

    lite.provider.fault = wait
    thread = threading.Thread(target=lite.read)
    thread.start()
    assert asked.wait(60)

    def in_child() -> bool:
        lite.engine.dispose(close=False)
        lite.provider.fault = lambda kek_uri: None
        return lite.read() == ["one"]

    try:
        assert in_fork(in_child)
    finally:
        answer.set()
        thread.join(60)
    assert lite.read() == ["one"]


def test_keys_are_dropped_while_threads_use_them(make_lite: Callable[..., World]) -> None:
    world = make_lite(max_open_keys=2)
    tenants = [f"tenant {number}" for number in range(6)]
    for tenant in tenants:
        world.write(tenant, f"of {tenant}")

    def use(number: int) -> Any:
        for tenant in random.Random(number).choices(tenants, k=20):
            if world.read(tenant) != [f"of {tenant}"]:
                return tenant
            world.keyring.forget(random.choice([None, tenant]))
        return None

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(8))) == {None}
