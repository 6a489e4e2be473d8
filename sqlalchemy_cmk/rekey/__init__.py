"""Re-keying: rows opened under one DEK, sealed under another, online. See :class:`Rekey`."""

from sqlalchemy_cmk.rekey.counting import RowCounts, count_rows
from sqlalchemy_cmk.rekey.dropping import drop_retired
from sqlalchemy_cmk.rekey.engine import Rekey
from sqlalchemy_cmk.rekey.job import Job, Move, pinned
from sqlalchemy_cmk.rekey.records import Run, RunState
from sqlalchemy_cmk.rekey.report import Damaged, Progress, Report

__all__ = [
    "Damaged",
    "Job",
    "Move",
    "Progress",
    "Rekey",
    "Report",
    "RowCounts",
    "Run",
    "RunState",
    "count_rows",
    "drop_retired",
    "pinned",
]
