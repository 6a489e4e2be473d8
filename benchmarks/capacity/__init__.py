"""How many calls an installation makes to its KEKs, against the limits of where they live."""

from benchmarks.capacity.limits import KINDS, MANAGED_HSM_UNWRAPS, share_used
from benchmarks.capacity.model import Case, Prices, evicting
from benchmarks.capacity.report import report
from benchmarks.capacity.simulation import Simulation, Traffic
from sqlalchemy_cmk.keys.opening import Times

__all__ = [
    "KINDS",
    "MANAGED_HSM_UNWRAPS",
    "Case",
    "Prices",
    "Simulation",
    "Times",
    "Traffic",
    "evicting",
    "report",
    "share_used",
]
