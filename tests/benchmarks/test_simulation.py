"""The simulation asks when the library asks: both go through the same hours, and make the same calls."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import create_engine

from benchmarks.capacity.limits import Limit
from benchmarks.capacity.model import Case
from benchmarks.capacity.simulation import Simulation, Traffic, next_proof
from sqlalchemy_cmk import Keyring, KeyUnavailable
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.opening import prover, refresher
from sqlalchemy_cmk.keys.opening.opener import CachePolicy
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.waiting import until

TENANTS = 12
QUICK = CachePolicy(revalidate_after=60, outage_grace=100, retry_after=7, jitter=0.5, refresh_ahead=False)
AHEAD = replace(QUICK, refresh_ahead=True)


class TinyVault(Case):
    """One whose vault takes seven transactions in ten seconds."""

    @property
    def limit(self) -> Limit:
        return Limit(10, 7, 5)


class Vault(LocalKeyProvider):
    """The local provider, behind a vault that is away for a time and has a limit."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__(path)
        self.clock = clock
        self.calls: Counter[int] = Counter()
        self.spent: Counter[int] = Counter()
        self.outage = (0.0, 0.0)
        self.most = 10**9

    def place_of(self, kek_uri: str) -> str:
        return kek_uri  # each is asked at a pace of its own

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        self.note()
        return super().wrap(kek_uri, dek)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.note()
        return super().unwrap(wrapped)

    def note(self) -> None:
        now = self.clock()
        self.calls[int(now)] += 1
        if self.outage[0] <= now < self.outage[1]:
            raise KeyUnavailable("the vault is away")
        if self.spent[now // 10] >= self.most:
            raise KeyUnavailable("429")
        self.spent[now // 10] += 1


class Drive:
    """A real keyring, used every second by a process of the case, on a clock of its own."""

    def __init__(self, folder: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        self.case, self.now = case, 0.0
        self.vault = Vault(folder / "keys.json", lambda: self.now)
        self.engine = create_engine("sqlite://")
        self.uses = [(str(n), purpose) for n in range(TENANTS) for purpose in list(Purpose)[: case.deks]]
        monkeypatch.setattr(prover, "_random", self)
        monkeypatch.setattr(refresher, "_random", self)
        if case.layout == "own":
            maker = self.keyring()
            for tenant in {tenant for tenant, _ in self.uses}:
                maker.assign(tenant, f"local:{tenant}")
            maker.close()

    def random(self) -> float:
        return chance(self.now)

    def keyring(self) -> Keyring:
        times = self.case.times
        return Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[self.vault],
            revalidate_after=times.revalidate_after,
            outage_grace=times.outage_grace,
            retry_after=times.retry_after,
            revalidation_jitter=times.jitter,
            refresh_ahead=times.refresh_ahead,
            clock=lambda: self.now,
        )

    def make_deks(self) -> None:
        maker = self.keyring()
        maker.warm([tenant for tenant, _ in self.uses], {purpose for _, purpose in self.uses}, new=True)
        maker.close()

    def run(self, traffic: Traffic) -> dict[int, int]:
        """Calls by second."""
        keyring = self.keyring()
        self.vault.outage = traffic.outage
        self.vault.most = self.case.limit.most if traffic.throttled else 10**9
        self.vault.calls.clear()
        self.vault.spent.clear()
        for second in range(int(traffic.seconds)):
            self.now = float(second)
            self.refresh(keyring)
            for (tenant, purpose), start in zip(self.uses, traffic.starts, strict=True):
                if self.now >= start:
                    self.use(keyring, tenant, purpose)
        keyring.close()
        return dict(self.vault.calls)

    def refresh(self, keyring: Keyring) -> None:
        keyring.keys.refresher.ring()
        until(lambda: not keyring.keys.refresher.is_busy)

    def use(self, keyring: Keyring, tenant: str, purpose: Purpose) -> None:
        with suppress(KeyUnavailable):
            keyring.active(tenant, purpose)


def chance(now: float) -> float:
    """A number for the jitter that depends on the time alone, however often it is asked for."""
    return now * 0.6180339887 % 1


def arriving(case: Case, over: float) -> list[float]:
    random = Random(5)
    return [random.uniform(0, over) for _ in range(case.processes * case.all_deks)]


SCENARIOS: dict[str, tuple[Case, dict[str, Any]]] = {
    "own KEKs": (Case(1, TENANTS, "own", times=QUICK), {}),
    "one KEK for all": (Case(1, TENANTS, "shared", times=QUICK), {}),
    "two purposes under a KEK": (Case(1, TENANTS, "own", deks=2, times=QUICK), {}),
    "DEKs that are still to be made": (Case(1, TENANTS, "own", times=QUICK), {"new": True}),
    "DEKs to be made under one KEK": (Case(1, TENANTS, "shared", times=QUICK), {"new": True}),
    "an outage": (Case(1, TENANTS, "own", times=QUICK), {"outage": (150, 190)}),
    "an outage under one KEK": (Case(1, TENANTS, "shared", times=QUICK), {"outage": (150, 210)}),
    "an outage longer than the grace": (Case(1, TENANTS, "own", times=QUICK), {"outage": (90, 260)}),
    "a vault with a limit": (TinyVault(1, TENANTS, "own", times=QUICK), {"throttled": True}),
    "ahead of the deadline": (Case(1, TENANTS, "own", times=AHEAD), {}),
    "no jitter": (Case(1, TENANTS, "own", times=replace(QUICK, jitter=0)), {}),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_simulation_makes_the_very_calls_of_a_keyring(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, options = SCENARIOS[name]
    traffic = Traffic(arriving(case, 40), 400, **options)
    drive = Drive(tmp_path, case, monkeypatch)
    if not traffic.new:
        drive.make_deks()
    run = Simulation(case, traffic, chance).run()
    simulated = run.answered + run.refused + run.unreached
    assert drive.run(traffic) == dict(simulated)
    assert simulated.total() > 400 / 60


def test_a_deadline_is_that_of_an_opened_dek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(1, TENANTS, "own", times=QUICK)
    drive = Drive(tmp_path, case, monkeypatch)
    keyring = drive.keyring()
    for drive.now in (1.0, 17.0, 40.5):
        dek = keyring.active(str(drive.now), Purpose.RANDOMIZED)
        assert dek.deadline == next_proof(QUICK, drive.now, chance(drive.now), 0)
    keyring.close()
