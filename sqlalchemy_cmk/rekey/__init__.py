"""Re-keying: opens rows under one DEK and seals them under another, online. See :class:`Rekey`."""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.databases.scrub import scrub
from sqlalchemy_cmk.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from sqlalchemy_cmk.rekey.counting import RowCounts, count_rows
    from sqlalchemy_cmk.rekey.dropping import drop_retired
    from sqlalchemy_cmk.rekey.engine import Rekey
    from sqlalchemy_cmk.rekey.job import Job, Move, pinned
    from sqlalchemy_cmk.rekey.records import Run, RunState
    from sqlalchemy_cmk.rekey.report import Damaged, Progress, Report
    from sqlalchemy_cmk.rekey.scheduler import ProgressCallback

__all__ = [
    "Damaged",
    "Job",
    "Move",
    "Progress",
    "ProgressCallback",
    "Rekey",
    "Report",
    "RowCounts",
    "Run",
    "RunState",
    "count_rows",
    "drop_retired",
    "pinned",
    "scrub",
]

# Every application creates the tables of re-keying, and few of its processes run it.
__getattr__ = lazy_names(
    __name__,
    {
        "Damaged": "report",
        "Job": "job",
        "Move": "job",
        "Progress": "report",
        "ProgressCallback": "scheduler",
        "Rekey": "engine",
        "Report": "report",
        "RowCounts": "counting",
        "Run": "records",
        "RunState": "records",
        "count_rows": "counting",
        "drop_retired": "dropping",
        "pinned": "job",
    },
)
