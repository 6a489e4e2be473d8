"""Before a tenant's keys are switched off: which rows, searches and jobs stop, and when (``cmk impact``)."""

from sqlalchemy_cmk.databases.statistics import Amount, Known
from sqlalchemy_cmk.impact.impact import impact_of
from sqlalchemy_cmk.impact.report import ColumnImpact, Impact, Neighbours, Stop, TableImpact, Times

__all__ = [
    "Amount",
    "ColumnImpact",
    "Impact",
    "Known",
    "Neighbours",
    "Stop",
    "TableImpact",
    "Times",
    "impact_of",
]
