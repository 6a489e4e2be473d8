"""What the model says of a keyring beyond its proofs, counted on a real one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from benchmarks.capacity.model import Case, evicting
from sqlalchemy_cmk import KeyRevoked, Keyring
from sqlalchemy_cmk.keys.model import Purpose
from tests.support.providers import CountingProvider

# Named so that they are made in the order in which they are used.
TENANTS = [f"tenant {number:02}" for number in range(40)]


class Bench:
    """A keyring on a database in memory, with a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.engine = create_engine("sqlite://")
        self.provider = CountingProvider(folder / "keys.json")
        self.now = 0.0

    def keyring(self, **options: Any) -> Keyring:
        return Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[self.provider],
            clock=lambda: self.now,
            **options,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.engine.dispose()


def test_making_a_dek_costs_a_wrap_and_a_proof(bench: Bench) -> None:
    keyring = bench.keyring()
    keyring.warm(["acme"], new=True)
    assert bench.provider.calls == ["wrap", "unwrap"]
    assert len(bench.provider.calls) == Case(tenants=1).making()
    keyring.close()


@pytest.mark.parametrize("kept", [10, 20, 30])
def test_more_deks_than_may_be_open_cost_an_unwrap_for_their_share_of_the_uses(
    bench: Bench, kept: int
) -> None:
    keyring = bench.keyring(max_open_keys=kept)
    keyring.warm(TENANTS, new=True)
    random, uses = Random(2), 1500
    bench.provider.calls.clear()
    for _ in range(uses):
        keyring.active(random.choice(TENANTS), Purpose.RANDOMIZED)
    in_ten_seconds = evicting(uses / 10, len(TENANTS), kept)
    assert len(bench.provider.calls) == pytest.approx(in_ten_seconds, rel=0.1)
    keyring.close()


def test_as_many_open_keys_as_deks_cost_nothing(bench: Bench) -> None:
    keyring = bench.keyring(max_open_keys=len(TENANTS))
    keyring.warm(TENANTS, new=True)
    bench.provider.calls.clear()
    for tenant in 3 * TENANTS:
        keyring.active(tenant, Purpose.RANDOMIZED)
    assert bench.provider.calls == [] and evicting(1000, 40, 40) == 0
    keyring.close()


def test_tenants_used_in_turn_are_all_evicted_before_their_next_use(bench: Bench) -> None:
    keyring = bench.keyring(max_open_keys=len(TENANTS) - 1)
    keyring.warm(TENANTS, new=True)
    bench.provider.calls.clear()
    for tenant in 3 * TENANTS:
        keyring.active(tenant, Purpose.RANDOMIZED)
    assert len(bench.provider.calls) == 3 * len(TENANTS)
    keyring.close()


def test_a_tenant_whose_kek_refuses_is_asked_for_every_retry_after(bench: Bench) -> None:
    keyring = bench.keyring()
    keyring.assign("acme", "local:acme")
    dek_id = keyring.active("acme", Purpose.RANDOMIZED).id
    bench.provider.disable("local:acme")
    keyring.forget("acme")
    bench.provider.calls.clear()
    for second in range(150):
        bench.now = float(second)
        with pytest.raises(KeyRevoked):
            keyring.dek(dek_id)
        with pytest.raises(KeyRevoked):
            keyring.active("acme", Purpose.RANDOMIZED)
    assert len(bench.provider.calls) == 15 * Case(processes=1).refused(questions=2) == 20
    keyring.close()


def test_a_proof_costs_two_statements_and_a_new_tenant_eleven(bench: Bench) -> None:
    keyring = bench.keyring()
    keyring.warm(["first"], new=True)
    with waited_for() as making:
        keyring.warm(["acme"], new=True)
    bench.now += 300
    with waited_for() as proving:
        keyring.warm(["acme"], new=True)
    keyring.forget()
    with waited_for() as opening:
        keyring.warm(["acme"], new=True)
    assert (len(making), len(proving), len(opening)) == (11, 2, 2)
    keyring.close()


@contextmanager
def waited_for() -> Iterator[list[str]]:
    """The statements of the block on the key tables that its caller waits for."""
    seen: list[str] = []
    caller = threading.current_thread()

    def note(*arguments: Any) -> None:
        if threading.current_thread() is caller and "cmk_" in arguments[2]:
            seen.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)
