"""The figures as tables in Markdown: those of docs/capacity.md, and those of a reader's own case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.capacity.fleet import DEK_BYTES, Fleet
from benchmarks.capacity.fleet_simulation import FleetRun, simulate
from benchmarks.capacity.limits import KINDS, MANAGED_HSM_UNWRAPS, VAULTS_IN_A_SUBSCRIPTION, WINDOW
from benchmarks.capacity.model import Case, Prices, standard_times
from benchmarks.capacity.scenarios import BEFORE, arrivals, deploy, outage
from benchmarks.capacity.simulation import Run

JITTERS = (0, 0.1, 0.5)
OUTAGES = (60, 600)
APART = 30.0
SETTLED, AT_FIRST = 1800, 600
# How many processes of a fleet stand for all, by how many serve a tenant.
SAMPLES = {200: 2, 4: 6}
LAYOUTS = {"own": "own KEKs, one vault", "shared": "one PMK", "vaults": "own KEKs, a vault each"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Deploy(NamedTuple):
    """A start of all processes: in which layout, with which jitter, how far apart, proofs ahead or not."""

    layout: str
    jitter: float
    apart: float = 0.0
    ahead: bool = False

    @property
    def case(self) -> Case:
        """The installation."""
        return of(self.layout, times=standard_times(self.jitter, refresh_ahead=self.ahead))


@dataclass(frozen=True, slots=True)
class Runs:
    """The simulations that the tables and the plot show, each run once."""

    deploys: dict[Deploy, Run]
    throttled: dict[Deploy, Run]
    arrivals: dict[str, Run]
    outages: dict[tuple[str, float], Run]
    fleets: dict[Fleet, FleetRun]

    @classmethod
    def simulate(cls) -> Runs:
        """Run them: 8 processes, 1,000 tenants, RSA 2048."""
        deployed = [Deploy("own", jitter) for jitter in JITTERS]
        deployed += [Deploy("own", jitter, ahead=True) for jitter in JITTERS]
        deployed += [Deploy("own", 0.1, APART), Deploy("shared", 0.1), Deploy("vaults", 0.1)]
        return cls(
            {key: deploy(key.case, apart=key.apart) for key in deployed},
            {key: deploy(key.case, apart=key.apart, throttled=True, seconds=AT_FIRST) for key in deployed},
            {layout: arrivals(of(layout)) for layout in LAYOUTS},
            {(layout, s): outage(of(layout), s) for layout in ("own", "shared") for s in OUTAGES},
            {fleet: simulate(fleet, sample=SAMPLES[fleet.serving]) for fleet in fleets()},
        )


def fleets() -> list[Fleet]:
    """Return the fleets of the documentation: requests routed or not, proofs ahead or not."""
    times = [replace(standard_times(), refresh_ahead=ahead) for ahead in (False, True)]
    return [Fleet(serving=serving, times=one) for serving in SAMPLES for one in times]


def of(layout: str, jitter: float = 0.1, **options: object) -> Case:
    """Return the case of the documentation in one of its layouts."""
    return replace(Case(), **{"layout": layout, "times": standard_times(jitter), **options})  # type: ignore[arg-type]


def deploys(runs: Runs) -> Table:
    """After a deploy: what the vaults are asked in ten seconds, at first, later, and in the long run."""
    head = (
        "processes start", "jitter", "refresh ahead", "first ten seconds", "later at most",
        "at most after half an hour", "on average", "throttled", "all open after",
    )  # fmt: skip
    rows = []
    for key, run in runs.deploys.items():
        start = f"{key.apart:.0f} s apart" if key.apart else "at once"
        limited = runs.throttled[key]
        rows.append((
            f"{start}; {LAYOUTS[key.layout]}", percent(key.jitter), "on" if key.ahead else "off",
            number(run.transactions()[0]), number(run.peak(WINDOW)), number(run.peak(SETTLED)),
            number(key.case.steady()), percent(limited.throttled_share()), f"{limited.last_opened:.0f} s",
        ))  # fmt: skip
    return Table(head, rows)


def outages(runs: Runs) -> Table:
    """An outage: what is tried in ten seconds while it lasts, and what comes when it is over."""
    head = (
        "outage",
        "seconds",
        "at most before",
        "tried at most",
        "first ten seconds after",
        "at most after",
    )
    rows = []
    for (layout, seconds), run in runs.outages.items():
        begin, end = int(BEFORE // WINDOW), int((BEFORE + seconds) // WINDOW)
        rows.append((
            LAYOUTS[layout], f"{seconds:.0f}", number(max(run.calls()[begin - 30 : begin])),
            number(max(run.calls()[begin:end])), number(run.transactions()[end]),
            number(run.peak(BEFORE + seconds)),
        ))  # fmt: skip
    return Table(head, rows)


def newcomers(runs: Runs) -> Table:
    """Tenants that arrive over an hour."""
    head = ("1,000 tenants arrive within an hour", "at most", "busiest vault")
    return Table(
        head,
        [
            (LAYOUTS[name], number(run.peak()), number(run.busiest_vault()))
            for name, run in runs.arrivals.items()
        ],
    )


def skewed(runs: Runs) -> Table:
    """A fleet with many tenants, used by Zipf's law."""
    head = (
        "processes that serve a tenant", "refresh ahead", "calls a second: busiest vault", "median vault",
        "all vaults", "DEKs open in a process", "their memory", "requests that wait", "p99 added",
        "those of tenants in use that wait", "p99 added to them",
    )  # fmt: skip
    rows = []
    for fleet, run in runs.fleets.items():
        calls = sorted(fleet.calls())
        rows.append((
            f"{fleet.serving}", "on" if fleet.times.refresh_ahead else "off", f"{max(calls):.2f}",
            f"{calls[len(calls) // 2]:.3f}", number(sum(calls)), number(round(fleet.open_deks())),
            f"{fleet.open_deks() * DEK_BYTES / 2**20:.1f} MiB", percent(run.requests.waiting()),
            milliseconds(run.requests.added(0.99)), percent(run.in_use.waiting()),
            milliseconds(run.in_use.added(0.99)),
        ))  # fmt: skip
    return Table(head, rows)


def kinds() -> Table:
    """What each kind of KEK allows, by the formulas: 8 processes, 1,000 tenants with KEKs of their own."""
    head = (
        "KEKs", "unwraps in ten seconds", "steady share", "all open after", "sufficient jitter",
        "tenants at half the limit",
    )  # fmt: skip
    places = [(f"{kind}, vault", of("own", kind=kind)) for kind in KINDS]
    places += [(f"{kind}, Managed HSM", of("own", kind=kind, partitions=1)) for kind in MANAGED_HSM_UNWRAPS]
    rows = [
        (
            name, number(case.limit.in_ten_seconds), percent(case.share(case.steady())),
            opening_of(case), jitter_of(case), number(case.most_tenants()),
        )
        for name, case in places
    ]  # fmt: skip
    return Table(head, rows)


def bills(prices: Prices = Prices()) -> Table:  # noqa: B008
    """What a month of operations costs in vaults, with 30 deploys."""
    head = ("revalidate_after", *(f"{LAYOUTS[layout]}, USD in 30 days" for layout in ("own", "shared")))
    rows = []
    for seconds in (60, 300, 900, 3600):
        cases = [Case(layout=layout, times=standard_times(0.1, seconds)) for layout in ("own", "shared")]
        rows.append((f"{seconds}", *(f"{case.bill(prices, deploys=30):,.2f}" for case in cases)))
    return Table(head, rows)


def report(case: Case, prices: Prices = Prices(), deploys: int = 30) -> str:  # noqa: B008
    """Return what there is to know of one case, a line each."""
    cold, limit = case.cold_start(), case.limit
    lines = {
        "DEKs open in each process (max_open_keys has to exceed it)": number(case.all_deks),
        "seconds between two proofs of a KEK version in a process": f"{case.period():.0f}",
        "transactions in ten seconds, in the long run": number(case.steady()),
        "of the limit": percent(case.share(case.steady())),
        "transactions when all processes start at once": number(cold),
        "all DEKs are open after": opening_of(case),
        "most in ten seconds when they are proven again": number(case.renewal_peak()),
        "jitter that keeps those within the limit": jitter_of(case),
        "calls tried in ten seconds of a long outage": number(case.outage_calls()),
        "USD for 30 days of operations": f"{case.bill(prices, deploys):,.2f}",
        "the limit, in ten seconds, of one vault or HSM": number(limit.in_ten_seconds),
        "what serves": advice(case),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def advice(case: Case) -> str:
    """Return which place is large enough for the KEKs; half of a limit is kept for deploys and recoveries."""
    if case.partitions:
        return "this Managed HSM" if case.share(case.steady()) <= 0.5 else "more Managed HSMs, or other keys"
    vault = case.limit.in_ten_seconds
    if case.steady() / case.places <= vault / 2 and case.share(case.steady()) <= 0.5:
        return "a vault for each customer" if case.layout == "vaults" else "one vault"
    if case.layout != "shared" and case.steady() <= VAULTS_IN_A_SUBSCRIPTION * vault / 2:
        return "several vaults: one for each customer"
    return "vaults in several subscriptions (the customers' own), or a Managed HSM"


def jitter_of(case: Case) -> str:
    """Return the jitter that keeps the proofs within the limit, as text."""
    jitter = case.smallest_jitter()
    return "none does" if jitter is None else f"{jitter:.2f}" if jitter else "0"


def opening_of(case: Case) -> str:
    """Return how long it takes to open all DEKs after a common start, as text."""
    return f"{case.opening_time():.0f} s" if case.share(case.steady()) <= 1 else "overloaded"


def number(value: float) -> str:
    """Return a number with its thousands apart, and a decimal where it is small and broken."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds."""
    return f"{1000 * seconds:.0f} ms"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.095 else f"{100 * share:.1f} %"
