"""The keys that many rows need are loaded together, unwrapped side by side, and fail one by one."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import KeyRevoked, Keyring, KeyUnavailable
from sqlalchemy_cmk.keys.binding.held_keys import HeldKeys
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening.calls import ProviderCalls
from sqlalchemy_cmk.keys.opening.flows import Call, Flow
from sqlalchemy_cmk.keys.opening.lanes import Lanes
from sqlalchemy_cmk.keys.opening.questions import ActiveDek
from sqlalchemy_cmk.keys.opening.slots import Slots
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


def page(world: World, *owners: str) -> list[str]:
    """The texts of tenants' notes, fetched in one batch."""
    query = select(world.notes.c.owner, world.notes.c.text).where(world.notes.c.owner.in_(owners))
    with world.engine.connect() as connection:
        return [row.text for row in connection.execute(query.order_by(world.notes.c.id)).all()]


def test_a_page_of_many_tenants_asks_sixteen_vaults_at_once_and_the_tables_twice(town: World) -> None:
    vaults(town).awaited = 16
    with statements() as seen:
        assert page(town, *TENANTS) == [f"of {one}" for one in TENANTS]
    assert vaults(town).most == 16 and town.provider.calls == ["unwrap"] * len(TENANTS)
    # The audit trail is written meanwhile, in the background.
    assert sum(one.startswith(("SELECT cmk_tenants", "SELECT cmk_deks")) for one in seen) == 2


def test_new_keys_are_wrapped_side_by_side_and_committed_together(town: World, no_lull: None) -> None:
    vaults(town).awaited = 16
    codes = [{"owner": one, "text": "a code"} for one in TENANTS]
    with statements() as seen, town.engine.begin() as connection:
        connection.execute(insert(town.codes), codes)
    assert vaults(town).most == 16
    # However many tenants there are, their DEKs, their wrappings and their events are one statement each.
    for table in ("cmk_deks", "cmk_wrappings", "cmk_audit "):
        assert sum(one.startswith(f"INSERT INTO {table}") for one in seen) == 1
    assert len(town.read(table=town.codes)) == len(TENANTS)
    assert town.keyring.audit.verify().problems == ()


def test_at_one_vault_eight_calls_are_under_way_at_once(town: World) -> None:
    vaults(town).awaited = 8
    town.keyring.warm([f"new {number}" for number in range(20)], new=True)
    assert vaults(town).most_of_one == 8


def test_one_tenants_failure_is_its_own(town: World) -> None:
    town.provider.disable(f"local:{TENANTS[3]}")

    def fail(kek_uri: str) -> None:
        if kek_uri == f"local:{TENANTS[5]}":
            raise KeyUnavailable("it is away")

    town.provider.fault = fail
    found = town.keyring.keys.open_all([ActiveDek(one, Purpose.RANDOMIZED) for one in TENANTS])
    with pytest.raises(KeyRevoked) as refused:
        found[ActiveDek(TENANTS[3], Purpose.RANDOMIZED)]
    assert refused.value.tenant == TENANTS[3]
    with pytest.raises(KeyUnavailable, match="it is away"):
        found[ActiveDek(TENANTS[5], Purpose.RANDOMIZED)]
    others = [one for one in TENANTS if one not in (TENANTS[3], TENANTS[5])]
    assert all(found[ActiveDek(one, Purpose.RANDOMIZED)] is not None for one in others)
    assert page(town, *others) == [f"of {one}" for one in others]
    with pytest.raises(KeyRevoked):
        page(town, *TENANTS)


def test_an_error_that_was_caught_leaves_memory_with_all_that_its_callers_had_open(tmp_path: Path) -> None:
    """In a process of its own: whatever other tests have left in memory may hold errors too."""
    command = [sys.executable, "-m", "tests.keys.errors_in_memory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "5 errors are gone\n"), done.stderr


def take_two_seconds_for(world: World, tenant: str) -> None:
    """Let the answer of a tenant's vault take two seconds."""

    def take(kek_uri: str) -> None:
        world.now += 2 if kek_uri == f"local:{tenant}" else 0

    world.provider.fault = take


def test_a_deadline_that_passes_while_another_key_is_waited_for_is_looked_at_again(town: World) -> None:
    """The page's first key was proven 299 seconds ago, and the second key takes two."""
    first, second = TENANTS[:2]
    page(town, first)
    town.provider.disable(f"local:{first}")
    town.now += 299
    take_two_seconds_for(town, second)
    with pytest.raises(KeyRevoked):
        page(town, first, second)


def test_the_deadline_of_a_key_that_a_batch_holds_is_looked_at_again_too(town: World) -> None:
    first, second = (ActiveDek(one, Purpose.RANDOMIZED) for one in TENANTS[:2])
    held = HeldKeys(town.keyring.keys)
    held.open_all([first]).require_all()
    town.provider.disable(f"local:{first.tenant}")
    town.now += 299
    take_two_seconds_for(town, second.tenant)
    opened = held.open_all([first, second])
    with pytest.raises(KeyRevoked):
        opened[first]
    assert opened[second] is not None


def test_threads_that_need_the_same_keys_unwrap_each_once(town: World) -> None:
    pages = [TENANTS[:20], TENANTS[10:], TENANTS[5:25], TENANTS]
    with ThreadPoolExecutor(len(pages)) as pool:
        found = list(pool.map(lambda those: page(town, *those), pages))
    assert found == [[f"of {one}" for one in those] for those in pages]
    assert town.provider.calls == ["unwrap"] * len(TENANTS)


def test_keys_proven_by_one_kek_are_proven_anew_by_one_call(lite: World) -> None:
    lite.keyring.warm(TENANTS, new=True)
    lite.now += 300
    lite.provider.calls.clear()
    lite.keyring.warm(TENANTS, new=True)
    assert lite.provider.calls == ["unwrap"]


def test_vaults_that_hang_take_no_slot_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.keys.opening.slots.HANGS", 0.05)
    calls, end, landed = ProviderCalls(at_once=2), threading.Event(), {}
    answered = threading.Event()

    def flow(place: str, make: Any) -> Flow[Any]:
        return (yield Call(place, "", 1, make))

    def land(place: str, result: Future[Any]) -> None:
        landed[place] = result.result()
        if place == "healthy":
            answered.set()

    hung = {f"hung {number}": flow(f"hung {number}", lambda: end.wait(SOON)) for number in range(4)}
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(calls.follow_all, {**hung, "healthy": flow("healthy", time.time)}, land)
        try:
            assert answered.wait(SOON) and set(landed) == {"healthy"}
        finally:
            end.set()
        batch.result(SOON)
    assert set(landed) == {*hung, "healthy"}


class AtOnce(ProviderCalls):
    """Does the work of a thread before anybody else goes on; then somebody calls the same place again."""

    afterwards: Any = None

    def submit(self, place: str, work: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work())
        if self.afterwards is not None:
            afterwards, self.afterwards = self.afterwards, None
            afterwards()
        return future


def test_a_place_that_is_called_again_as_its_last_call_ends_is_not_forgotten() -> None:
    calls, call = AtOnce(), Call("a vault", "", 8, lambda: None)
    lanes = Lanes[str](calls)
    calls.afterwards = lambda: lanes.add("second", call)
    lanes.add("first", call)
    found = []
    for _ in range(2):
        lanes.start()
        found += [key for key, _ in lanes.answers()]
    lanes.close()
    assert found == ["first", "second"]


def test_a_select_needs_no_key_of_a_tenant_without_rows(town: World) -> None:
    with town.engine.connect() as connection:
        query = select(town.codes.c.text).where(town.codes.c.owner == "nobody", town.codes.c.text == "a code")
        assert connection.execute(query).all() == []
    assert town.provider.calls == []


def test_an_asynchronous_session_reads_its_page_side_by_side_too(town: World) -> None:
    vaults(town).awaited = 16
    engine = create_async_engine(town.url.replace("sqlite:", "sqlite+aiosqlite:"))

    async def read() -> list[str]:
        async with engine.connect() as connection:
            rows = await connection.execute(select(town.notes.c.owner, town.notes.c.text))
            found = [row.text for row in rows]
        await engine.dispose()
        return found

    town.keyring.close()
    keyring = Keyring(engine, platform_key="local:pmk", providers=[town.provider])
    with keyring:
        keyring.protect(town.metadata)
        assert asyncio.run(read()) == [f"of {one}" for one in TENANTS]
    assert vaults(town).most == 16 and town.provider.calls == ["unwrap"] * len(TENANTS)


def test_every_kek_is_asked_whether_it_opens_side_by_side(town: World) -> None:
    vaults(town).awaited = 16
    town.provider.disable(f"local:{TENANTS[3]}")
    failed = [use.tenant for use in town.keyring.kek_uses() if use.failure is not None]
    assert failed == [TENANTS[3]] and vaults(town).most == 16


def test_a_batch_that_has_found_no_slot_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The long batch asks again at once; what is given back is kept for the short one."""
    slots, woken = Slots(1, 1), list[str]()

    def take(name: str) -> int | None:
        return slots.take("a vault", lambda: woken.append(name), name)

    slot = take("long")
    assert slot is not None and take("short") is None
    slots.give_back(slot)
    assert woken == ["short"] and take("long") is None
    slot = take("short")
    assert slot is not None and take("long") is None
    slots.give_back(slot)
    assert take("long") is not None


def test_a_slot_is_not_kept_for_long_for_who_is_busy_with_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = Slots(1, 1)
    slot = slots.take("a vault", lambda: None, "long")
    assert slot is not None and slots.take("a vault", lambda: None, "short") is None
    slots.give_back(slot)
    monkeypatch.setattr("sqlalchemy_cmk.keys.opening.slots.KEPT", 0)
    assert slots.take("a vault", lambda: None, "long") is not None


def test_one_vaults_calls_leave_slots_to_the_others() -> None:
    slots = Slots(16, 8)
    assert [slots.take("one", lambda: None, slots) for _ in range(9)][-1] is None
    assert all(slots.take("other", lambda: None, slots) for _ in range(8))
    assert slots.is_full
