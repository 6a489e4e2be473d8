"""The figures of docs/capacity.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.capacity.fleet import Fleet
from benchmarks.capacity.fleet_simulation import FleetRun
from benchmarks.capacity.limits import KINDS, WINDOW
from benchmarks.capacity.report import JITTERS, Deploy, Runs, percent
from benchmarks.capacity.scenarios import BEFORE

MINUTES = 30
LIMITS = {"RSA 2048": "-", "RSA-HSM 2048": "--", "RSA-HSM 3072": ":"}
BLUE, RED, GREY = "#2f6db3", "#b3261e", "#8a8a8a"
STYLE = {"svg.hashsalt": "capacity", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def plot(runs: Runs, path: Path) -> None:
    """Write the figure: the same bytes for the same runs."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 10), facecolor="white", layout="constrained")
        deploys = figure.subplots(len(JITTERS) + 1, 1)
        for axes, jitter in zip(deploys, JITTERS, strict=False):
            deploy_panel(axes, runs, jitter)
        outage_panel(deploys[-1], runs)
        deploys[-1].set_xlabel("minutes")
        figure.suptitle("8 processes, 1,000 tenants, each with a KEK, in one vault; no refresh ahead")
        figure.supylabel("transactions in ten seconds")
        figure.savefig(path, format="svg", metadata={"Date": None})


def plot_fleet(runs: Runs, path: Path) -> None:
    """Write the figure of the fleet whose requests are routed."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5), facecolor="white", layout="constrained")
        panels = [fleet for fleet in runs.fleets if fleet.serving < fleet.processes]
        for axes, fleet in zip(figure.subplots(len(panels), 1, sharey=True), panels, strict=True):
            fleet_panel(axes, fleet, runs.fleets[fleet])
        axes.set_xlabel("minutes after a common start")
        figure.suptitle(f"{fleet.processes} processes, {fleet.tenants:,} tenants, {fleet.serving} serve each")
        figure.supylabel("calls to all vaults in ten seconds")
        figure.savefig(path, format="svg", metadata={"Date": None})


def fleet_panel(axes: Any, fleet: Fleet, run: FleetRun) -> None:
    waited_for, ahead = run.in_windows(ahead=False), run.in_windows(ahead=True)
    bars(axes, [one + other for one, other in zip(waited_for, ahead, strict=True)])
    bars(axes, waited_for, RED)
    state = "on" if fleet.times.refresh_ahead else "off"
    axes.set_title(
        f"refresh ahead {state}: {percent(run.requests.waiting())} of the requests wait for the calls in red",
        loc="left",
        fontsize=9,
    )


def deploy_panel(axes: Any, runs: Runs, jitter: float) -> None:
    run = runs.deploys[Deploy("own", jitter)]
    peak, limit = run.peak(WINDOW), KINDS["RSA 2048"].other
    bars(axes, run.transactions()[: MINUTES * 60 // WINDOW])
    axes.set_ylim(0, 9000)
    axes.set_title(
        f"all DEKs opened at once after a deploy, revalidation_jitter {jitter:g}: "
        f"later at most {peak:,} ({percent(peak / limit)} of {limit:,})",
        loc="left",
        fontsize=9,
    )
    limits(axes, tuple(LIMITS))


def outage_panel(axes: Any, runs: Runs) -> None:
    run, seconds = runs.outages["own", 60], 60
    begin = (BEFORE - 300) // WINDOW
    shown = slice(begin, begin + MINUTES * 60 // WINDOW)
    bars(axes, run.transactions()[shown])
    lost = [tried - came for tried, came in zip(run.calls(), run.transactions(), strict=True)]
    bars(axes, lost[shown], GREY)
    axes.axvspan(5, 5 + seconds / 60, color=GREY, alpha=0.25, linewidth=0)
    axes.annotate("no vault can be reached: calls that fail", (6.1, 1850), color="#555555", fontsize=8)
    axes.set_ylim(0, 2300)
    axes.set_title(
        f"an outage of {seconds} s, revalidation_jitter 0.1: "
        f"{run.transactions()[(BEFORE + seconds) // WINDOW]:,} in the first ten seconds after",
        loc="left",
        fontsize=9,
    )
    limits(axes, tuple(LIMITS)[1:])


def bars(axes: Any, windows: Sequence[float], color: str = BLUE) -> None:
    edges = [number * WINDOW / 60 for number in range(len(windows) + 1)]
    axes.stairs(windows, edges, fill=True, color=color)
    axes.set_xlim(0, MINUTES)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def limits(axes: Any, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        most = KINDS[kind].other
        axes.axhline(most, color=RED, linewidth=1, linestyle=LIMITS[kind])
        axes.annotate(
            f"limit {most:,}\n{kind}",
            (MINUTES, most),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=RED,
            fontsize=8,
            annotation_clip=False,
        )
