"""The fleet of docs/capacity.md at a small size: formulas and simulation agree, and refresh ahead helps."""

from dataclasses import replace

import pytest

from benchmarks.capacity.fleet import Fleet
from benchmarks.capacity.fleet_simulation import FleetRun, simulate

SMALL = Fleet(processes=10, tenants=400, requests=3, serving=10)


@pytest.fixture(scope="module")
def runs() -> dict[bool, tuple[Fleet, FleetRun]]:
    """The fleet and its simulation, with and without refresh ahead."""
    fleets = {on: replace(SMALL, times=replace(SMALL.times, refresh_ahead=on)) for on in (False, True)}
    return {on: (fleet, simulate(fleet, sample=4)) for on, fleet in fleets.items()}


@pytest.mark.parametrize("ahead", [False, True])
def test_the_formulas_of_a_fleet_are_what_its_simulation_counts(
    runs: dict[bool, tuple[Fleet, FleetRun]], ahead: bool
) -> None:
    fleet, run = runs[ahead]
    assert run.calls() == pytest.approx(sum(fleet.calls()), rel=0.04)
    assert run.requests.waiting() == pytest.approx(fleet.waiting(), rel=0.08)
    mean = sum(run.open_deks) / len(run.open_deks)
    assert mean == pytest.approx(fleet.open_deks(), rel=0.04)
    assert bool(run.ahead) is ahead


def test_no_request_for_a_tenant_in_use_waits_at_p99_with_refresh_ahead(
    runs: dict[bool, tuple[Fleet, FleetRun]],
) -> None:
    (_, without), (_, ahead) = runs[False], runs[True]
    assert without.in_use.added(0.99) == SMALL.call and ahead.in_use.added(0.99) == 0
    assert without.in_use.waiting() > 8 * ahead.in_use.waiting()
    assert without.calls() < ahead.calls() < 1.6 * without.calls()


def test_use_is_skewed_as_the_exponent_says() -> None:
    uses = Fleet(tenants=1000, skew=1.2).uses
    assert uses[0] / uses[99] == pytest.approx(100**1.2)
    fleet = Fleet(tenants=1000, serving=4)
    assert sum(fleet.uses) * fleet.serving == pytest.approx(fleet.processes * fleet.requests)
