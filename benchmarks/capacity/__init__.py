"""How many calls an installation makes to its KEKs, against the limits of where they live."""

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
    "Prices",
    "Simulation",
    "Traffic",
    "evicting",
    "report",
    "share_used",
]
