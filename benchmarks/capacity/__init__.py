"""How many calls an installation makes to its KEKs, against the limits of where they live."""

from benchmarks.capacity.fleet import Fleet
from benchmarks.capacity.fleet_simulation import simulate
from benchmarks.capacity.limits import KINDS, MANAGED_HSM_UNWRAPS, share_used
from benchmarks.capacity.model import Case, Prices, evicting
from benchmarks.capacity.report import report
from benchmarks.capacity.simulation import Simulation, Traffic
from sqlalchemy_cmk.keys.opening.opener import CachePolicy

__all__ = [
    "KINDS",
    "MANAGED_HSM_UNWRAPS",
    "CachePolicy",
    "Case",
    "Fleet",
    "Prices",
    "Simulation",
    "Traffic",
    "evicting",
    "report",
    "share_used",
    "simulate",
]
