"""DEKs in use are proven again in the background: no read waits for a KEK, and a refusal shuts at once."""

import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sqlalchemy_cmk import KeyRevoked
from sqlalchemy_cmk.keys.opening import refresher
from sqlalchemy_cmk.keys.opening.cache_policy import AHEAD_FROM, AHEAD_TO
from tests.keys.processes import in_fork
from tests.keys.test_outages import RETRY, REVALIDATE, away
from tests.support.drivers import by_drivers
from tests.support.waiting import until
from tests.support.world import World

AHEAD = int(REVALIDATE * 0.95)


@pytest.fixture
def ahead(make_lite: Callable[..., World]) -> World:
    """A world that proves keys ahead."""
    return make_lite(refresh_ahead=True)


@pytest.fixture
def clinic(ahead: World) -> World:
    """A world in which "acme" has a KEK of its own and a note, opened now."""
    ahead.keyring.assign("acme", "local:acme")
    ahead.write("acme", "one")
    ahead.provider.calls.clear()
    return ahead


def refresh(world: World) -> None:
    """Let all that is due be proven, until nothing is under way."""
    world.keyring.keys.refresher.ring()
    until(lambda: not world.keyring.keys.refresher.is_busy)


def unwraps(world: World) -> int:
    return world.provider.calls.count("unwrap")


def by_background_alone(world: World) -> list[str]:
    """What is read while a call of a KEK in this thread's reads would fail the test."""
    before = unwraps(world)
    texts = world.read()
    assert unwraps(world) == before, "a read waited for a KEK"
    return texts


def test_a_key_in_use_is_proven_before_its_deadline_and_no_read_waits(clinic: World) -> None:
    for period in range(1, 4):
        assert by_background_alone(clinic) == ["one"]
        clinic.now += AHEAD
        refresh(clinic)
        assert unwraps(clinic) == period


def test_it_is_proven_by_the_thread_that_waits_for_it(clinic: World) -> None:
    clinic.read()
    clinic.now += AHEAD
    until(lambda: unwraps(clinic) == 1)


def test_a_key_that_nobody_uses_is_left_alone(clinic: World) -> None:
    clinic.now += AHEAD
    refresh(clinic)
    clinic.now += REVALIDATE - AHEAD - 1
    refresh(clinic)
    assert unwraps(clinic) == 0


def test_a_key_that_is_used_late_is_found_at_the_second_look(clinic: World) -> None:
    clinic.now += AHEAD
    refresh(clinic)
    clinic.read()
    clinic.now += REVALIDATE - AHEAD - 1
    refresh(clinic)
    assert unwraps(clinic) == 1


def test_the_deadline_is_checked_whatever_the_background_does(clinic: World) -> None:
    clinic.read()
    clinic.keyring.keys.refresher.close()
    clinic.provider.disable("local:acme")
    clinic.now += REVALIDATE
    with pytest.raises(KeyRevoked):
        clinic.read()


def test_a_refusal_found_in_the_background_shuts_at_once(clinic: World) -> None:
    clinic.write("globex", "ours")
    clinic.read()
    clinic.provider.disable("local:acme")
    clinic.now += AHEAD
    for _ in range(2):  # one key of the place, and after a pause the other
        refresh(clinic)
        clinic.now += 1
    assert clinic.open_deks("acme") == 0 and clinic.open_deks("globex") == 1
    with pytest.raises(KeyRevoked):
        clinic.read("acme")
    assert clinic.read("globex") == ["ours"]
    clinic.keyring.keys.background.flush()
    assert [line.state for line in clinic.keyring.status() if line.tenant == "acme"] == ["revoked"]
    assert [one.event for one in clinic.keyring.audit.entries("acme")].count("revoked") == 1
    clinic.provider.enable("local:acme")
    clinic.now += RETRY
    assert clinic.read("acme") == ["one"]


def test_with_the_background_at_work_a_revocation_shuts_within_the_bound(clinic: World) -> None:
    clinic.read()
    clinic.now += AHEAD
    refresh(clinic)
    clinic.provider.disable("local:acme")
    revoked = clinic.now
    with pytest.raises(KeyRevoked):
        while clinic.now < revoked + 2 * REVALIDATE:
            clinic.now += 5
            refresh(clinic)
            clinic.read()
    assert clinic.now - revoked <= REVALIDATE * 0.95 + 5


def test_an_outage_is_not_hammered_and_the_key_serves_on(clinic: World) -> None:
    clinic.read()
    clinic.provider.fault = away
    clinic.now += AHEAD
    for _ in range(3):
        refresh(clinic)
    assert unwraps(clinic) == 1
    assert by_background_alone(clinic) == ["one"]
    clinic.provider.fault = lambda _: None
    clinic.now += RETRY - 1
    refresh(clinic)
    assert unwraps(clinic) == 1 and clinic.open_deks("acme") == 1


def test_a_reader_joins_the_proof_that_is_under_way(clinic: World) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        asked.set()
        assert answer.wait(30)

    clinic.read()
    clinic.provider.fault = hang
    clinic.now += AHEAD
    clinic.keyring.keys.refresher.ring()
    assert asked.wait(30)
    clinic.now += REVALIDATE - AHEAD
    seen: list[list[str]] = []
    reader = threading.Thread(target=lambda: seen.append(clinic.read()))
    reader.start()
    answer.set()
    reader.join(30)
    assert seen == [["one"]] and unwraps(clinic) == 1


def test_a_key_that_is_dropped_while_its_kek_is_asked_stays_dropped(clinic: World) -> None:
    clinic.read()
    clinic.provider.fault = lambda _: clinic.keyring.keys.opened.drop("acme")
    clinic.now += AHEAD
    refresh(clinic)
    assert unwraps(clinic) == 1 and clinic.open_deks("acme") == 0


def test_a_forked_child_proves_what_it_uses_itself(clinic: World) -> None:
    clinic.read()

    def child() -> bool:
        clinic.now += AHEAD
        refresh(clinic)
        assert unwraps(clinic) == 0
        clinic.read()
        clinic.now += REVALIDATE - AHEAD - 1
        refresh(clinic)
        return unwraps(clinic) == 1

    assert in_fork(child)


def test_a_keyring_with_an_asynchronous_driver_proves_ahead_too(make_lite: Callable[..., World]) -> None:
    with by_drivers("async"):
        world = make_lite(refresh_ahead=True)
    world.active("acme")
    world.active("acme")
    world.provider.calls.clear()
    world.now += AHEAD
    refresh(world)
    assert unwraps(world) == 1


def test_it_can_be_turned_off(make_lite: Callable[..., World]) -> None:
    world = make_lite(refresh_ahead=False)
    world.write("acme", "one")
    world.read()
    world.provider.calls.clear()
    world.now += AHEAD
    refresh(world)
    assert unwraps(world) == 0


def test_its_thread_ends_with_the_keyring(clinic: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a KEK answers while the keyring is being closed."""

    def threads() -> list[Any]:
        return [one for one in threading.enumerate() if one.name == "cmk-refresh"]

    keys = clinic.keyring.keys
    dek = keys.opened.peek(clinic.active("acme"))
    assert dek is not None and len(threads()) >= 1
    close = keys.background.close
    monkeypatch.setattr(keys.background, "close", lambda: (keys.refresher.proven(dek), close()))
    clinic.keyring.close()
    until(lambda: not threads())


def test_a_vault_is_asked_at_an_even_pace(ahead: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that were opened at one moment, over three periods."""
    monkeypatch.setattr(refresher, "_random", Random(1))
    tenants = [f"t{number}" for number in range(40)]
    ahead.keyring.warm(tenants, new=True)
    for tenant in tenants:
        ahead.keyring.assign(tenant, f"local:{tenant}")
        ahead.active(tenant)
    ahead.provider.calls.clear()
    calls: list[int] = []
    for _ in range(3 * REVALIDATE // 10):
        before = unwraps(ahead)
        for _ in range(2):
            ahead.now += 5
            for tenant in tenants:
                ahead.active(tenant)
            refresh(ahead)
        calls.append(unwraps(ahead) - before)
    window = (AHEAD_TO - AHEAD_FROM) * REVALIDATE
    assert sum(calls) > 2 * len(tenants) and max(calls) < 2 * len(tenants) * 10 / window
