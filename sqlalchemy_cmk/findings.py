"""The findings of a health check. See :mod:`sqlalchemy_cmk.doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of ``cmk doctor``.

    Attributes:
        level: how serious it is.
        subject: what was checked: a KEK's URI, or a column.
        what: what was found.
        remedy: what to do about it; empty if nothing has to be done.
    """

    level: Level
    subject: str
    what: str
    remedy: str = ""
