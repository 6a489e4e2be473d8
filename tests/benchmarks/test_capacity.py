"""The capacity model: limits as they are published, formulas and simulation that agree."""

from dataclasses import replace
from random import Random

import pytest

from benchmarks.capacity.limits import (
    KINDS,
    MANAGED_HSM_UNWRAPS,
    Limit,
    managed_hsm_limit,
    share_used,
    vault_limit,
)
from benchmarks.capacity.model import BEST_JITTER, Case, Prices, standard_times
from benchmarks.capacity.report import advice, report
from benchmarks.capacity.scenarios import BEFORE, HOUR, arrivals, deploy, outage
from benchmarks.capacity.simulation import Run, Simulation, Traffic

# Four proofs of every DEK.
ROUNDS = 1300


def of(jitter: float = 0.1, revalidate_after: float = 300, **options: object) -> Case:
    return replace(Case(times=standard_times(jitter, revalidate_after)), **options)


def long_run(case: Case, hours: int = 6) -> Run:
    """A run in which no two processes or tenants began together."""
    random = Random(3)
    starts = [random.uniform(0, 300) for _ in range(case.cold_start())]
    return Simulation(case, Traffic(starts, hours * HOUR)).run()


@pytest.mark.parametrize(
    "transactions",
    [
        {"RSA 2048": 4000},
        {"RSA-HSM 2048": 2000},
        {"RSA-HSM 4096": 250},
        {"RSA-HSM 4096": 248, "RSA-HSM 2048": 16},
    ],
)
def test_the_examples_of_the_published_page_use_the_limit_up(transactions: dict[str, int]) -> None:
    assert share_used(transactions) == pytest.approx(1)
    one_more = {kind: count + 1 for kind, count in transactions.items()}
    assert share_used(one_more) > 1


def test_a_key_that_is_created_weighs_as_hundreds_of_unwraps() -> None:
    assert share_used({"RSA 2048": 200}, {"RSA 2048": 1}) == pytest.approx(0.1)
    assert share_used({"RSA-HSM 4096": 125}, {"RSA-HSM 4096": 5}) == pytest.approx(1)


def test_a_subscription_takes_as_much_as_five_vaults() -> None:
    spread = of(layout="vaults", tenants=1000)
    assert spread.share(4000) == pytest.approx(4000 / 20000)
    assert replace(spread, tenants=4).share(4000) == pytest.approx(1000 / 4000)
    assert of(layout="own").share(4000) == pytest.approx(1)


def test_a_managed_hsm_is_counted_by_the_second_and_by_partition() -> None:
    assert managed_hsm_limit("oct-HSM 256").in_ten_seconds == 22_000
    assert managed_hsm_limit("RSA-HSM 4096", 3) == Limit(1, 3 * 160)
    with pytest.raises(ValueError, match="1 to 3"):
        managed_hsm_limit("RSA-HSM 2048", 4)


@pytest.mark.parametrize("kind", [kind for kind in MANAGED_HSM_UNWRAPS if kind in KINDS])
def test_a_managed_hsm_unwraps_more_than_a_vault_with_the_same_kind_of_key(kind: str) -> None:
    assert managed_hsm_limit(kind).in_ten_seconds > 5 * vault_limit(kind).in_ten_seconds


@pytest.mark.parametrize("layout", ["own", "shared"])
@pytest.mark.parametrize("jitter", [0, 0.1, 0.5])
@pytest.mark.parametrize("deks", [1, 2])
def test_in_the_long_run_the_simulation_asks_as_often_as_the_formula(
    layout: str, jitter: float, deks: int
) -> None:
    case = of(jitter, layout=layout, processes=4, tenants=40, deks=deks)
    assert long_run(case).mean(HOUR) == pytest.approx(case.steady(), rel=0.02)


def test_proofs_ahead_come_as_often_as_the_formula_says_and_leave_lower_peaks() -> None:
    case = of(0.1, processes=4, tenants=100)
    ahead = replace(case, times=standard_times(0.1, refresh_ahead=True))
    assert long_run(ahead, hours=2).mean(HOUR) == pytest.approx(ahead.steady(), rel=0.02)
    assert case.steady() < ahead.steady() < 1.15 * case.steady()
    peak = deploy(ahead, seconds=ROUNDS).peak(10)
    assert peak == pytest.approx(ahead.renewal_peak(), rel=0.12)
    assert peak < 0.8 * deploy(case, seconds=ROUNDS).peak(10)
    assert ahead.smallest_jitter() == 0 and of(kind="RSA-HSM 4096").smallest_jitter() is None


def test_one_kek_for_all_tenants_is_asked_as_often_as_one_tenants() -> None:
    one, all_of_them = of(0, layout="own", tenants=1), of(0, layout="shared", tenants=1000)
    assert all_of_them.steady() == one.steady()
    assert all_of_them.cold_start() == 1000 * one.cold_start()


def test_after_a_common_start_every_dek_is_unwrapped_at_once() -> None:
    for layout in ("own", "shared"):
        case = of(layout=layout, processes=3, tenants=50, deks=2)
        assert deploy(case, seconds=10).transactions()[0] == case.cold_start() == 300


@pytest.mark.parametrize(("jitter", "factor"), [(0, 1), (0.1, 2.9), (0.5, 13)])
def test_jitter_flattens_the_peaks_that_a_deploy_leaves(jitter: float, factor: float) -> None:
    case = of(jitter)
    run = deploy(case, seconds=ROUNDS)
    later = run.peak(10)
    assert run.peak() / later >= factor
    assert later == pytest.approx(case.renewal_peak(), rel=0.12)


@pytest.mark.parametrize("deks", [2, 3])
@pytest.mark.parametrize("jitter", [0.1, 0.5])
def test_with_several_deks_under_a_kek_the_earliest_decides(deks: int, jitter: float) -> None:
    case = of(jitter, tenants=500, deks=deks)
    assert deploy(case, seconds=ROUNDS).peak(10) == pytest.approx(case.renewal_peak(), rel=0.12)
    assert case.renewal_peak() > replace(case, deks=1).renewal_peak()


def test_the_peaks_of_later_proofs_are_those_of_the_formula() -> None:
    case = of(0.1)
    windows = deploy(case, seconds=ROUNDS).transactions()
    for number in (1, 2, 3, 4):
        around = windows[27 * number - 1 : 30 * number + 1]
        assert 0.8 < max(around) / case.renewal_peak(number) < 1.05


def test_a_jitter_of_more_than_a_half_makes_the_peaks_higher_again() -> None:
    peaks = {jitter: deploy(of(jitter), seconds=ROUNDS).peak(10) for jitter in (0.4, 0.5, 0.6, 0.8)}
    assert min(peaks, key=lambda jitter: peaks[jitter]) == BEST_JITTER
    for jitter, peak in peaks.items():
        assert peak == pytest.approx(of(jitter).renewal_peak(), rel=0.12)


@pytest.mark.parametrize(
    ("kind", "deks"), [("RSA 2048", 1), ("RSA-HSM 2048", 1), ("RSA 3072", 1), ("RSA 2048", 3)]
)
def test_the_smallest_jitter_that_suffices_is_so(kind: str, deks: int) -> None:
    case = of(kind=kind, deks=deks)
    enough = case.smallest_jitter()
    assert enough is not None

    def later(jitter: float) -> float:
        run = deploy(replace(case, times=standard_times(jitter)), seconds=ROUNDS)
        return run.peak(10) / case.limit.in_ten_seconds

    assert later(enough * 1.2) <= 1 < later(enough * 0.6)


def test_no_jitter_makes_a_vault_serve_more_than_its_limit() -> None:
    assert of(kind="RSA-HSM 4096").smallest_jitter() is None
    assert deploy(of(BEST_JITTER, kind="RSA-HSM 3072"), seconds=ROUNDS).peak(10) > KINDS["RSA-HSM 3072"].other
    assert of(kind="RSA-HSM 3072").smallest_jitter() is None
    assert of(layout="shared", kind="RSA-HSM 4096").smallest_jitter() == 0


@pytest.mark.parametrize("kind", ["RSA 2048", "RSA-HSM 2048", "RSA 3072"])
def test_a_throttled_vault_opens_all_deks_after_the_time_of_the_formula(kind: str) -> None:
    case = of(kind=kind)
    run = deploy(case, throttled=True, seconds=ROUNDS)
    assert run.last_opened == case.opening_time() > 0
    assert run.throttled_share() > 0 and run.errors > 0
    answered = run.in_windows(run.answered)
    assert max(answered) == case.limit.most


def test_a_busy_managed_hsm_opens_them_by_the_second() -> None:
    case = of(kind="RSA-HSM 4096", partitions=1)
    assert deploy(case, throttled=True, seconds=ROUNDS).last_opened == case.opening_time() == 49


def test_many_vaults_are_throttled_by_their_subscription_together() -> None:
    class Small(Case):
        @property
        def limit(self) -> Limit:
            return Limit(10, 20, 5)

    case = Small(processes=10, tenants=30, layout="vaults")
    run = deploy(case, throttled=True, seconds=ROUNDS)
    answered = run.in_windows(run.answered)
    assert answered[0] == 5 * 20 and run.busiest_vault() <= 10 * 10
    assert run.last_opened == case.opening_time() == 20


@pytest.mark.parametrize("layout", ["own", "vaults"])
@pytest.mark.parametrize("seconds", [60, 600])
def test_what_waits_for_an_outage_to_end_comes_within_retry_after(layout: str, seconds: int) -> None:
    case = of(layout=layout)
    run = outage(case, seconds)
    first = run.transactions()[(BEFORE + seconds) // 10]
    assert first == pytest.approx(case.recovery_peak(seconds), rel=0.05)
    assert first == run.peak(BEFORE + seconds)


def test_under_one_kek_an_outage_ends_with_one_unwrap_for_each_process() -> None:
    case = of(layout="shared")
    run = outage(case, 600)
    assert run.transactions()[(BEFORE + 600) // 10] == case.recovery_peak(600) == case.processes


@pytest.mark.parametrize("layout", ["own", "shared"])
def test_in_a_long_outage_every_dek_asks_for_itself(layout: str) -> None:
    case = of(layout=layout)
    run = outage(case, 600)
    tried = run.calls()[BEFORE // 10 + 40 : BEFORE // 10 + 60]
    assert sum(tried) / len(tried) == pytest.approx(case.outage_calls(), rel=0.01)
    assert run.errors == 0


def test_new_tenants_cost_a_wrap_and_a_proof_once_and_an_unwrap_in_every_other_process() -> None:
    case = of(revalidate_after=10**6, processes=5, tenants=60, deks=2)
    run = arrivals(case)
    assert run.answered.total() == case.making() + 4 * case.all_deks == 720


def test_a_bill_is_for_operations_and_for_hsm_keys_where_a_price_is_given() -> None:
    case = of(0, processes=10, tenants=300, kind="RSA-HSM 2048")
    assert case.operations() == pytest.approx(10 * 30 * 24 * 3600)
    assert case.bill() == pytest.approx(2592 * 0.03)
    assert case.bill(deploys=10) == pytest.approx((2592 + 3) * 0.03)
    assert case.bill(Prices(per_10_000=0, hsm_key_month=2)) == 600
    assert replace(case, kind="RSA 2048").bill(Prices(hsm_key_month=2)) == pytest.approx(2592 * 0.03)
    assert replace(case, kind="RSA 3072").bill() == pytest.approx(5 * 2592 * 0.03)
    assert replace(case, kind="RSA 3072").bill(Prices(advanced=1)) == pytest.approx(2592 * 0.03)
    assert replace(case, partitions=1).bill(Prices(hsm_key_month=2)) == 0


@pytest.mark.parametrize(
    ("case", "place"),
    [
        (of(layout="shared", tenants=100_000), "one vault"),
        (of(tenants=7000), "one vault"),
        (of(tenants=8000), "several vaults: one for each customer"),
        (of(layout="vaults", tenants=8000), "a vault for each customer"),
        (of(kind="RSA-HSM 4096", tenants=5000), "vaults in several subscriptions"),
        (of(kind="RSA-HSM 4096", tenants=2800, partitions=1), "this Managed HSM"),
    ],
)
def test_the_advice_keeps_half_of_a_limit_free(case: Case, place: str) -> None:
    assert advice(case).startswith(place)
    assert advice(case) in report(case)
