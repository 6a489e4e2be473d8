"""Whether what has happened explains an error; and what must hold when all is healed."""

from __future__ import annotations

import re
from sqlite3 import OperationalError
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, PendingRollbackError

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable, RunInterrupted, TamperedError
from tests.simulation import actors, conversions, life, rekeying
from tests.simulation.access import Troubles
from tests.simulation.invariants import MARK
from tests.simulation.scheduler import Task

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.step import Step

# A refusal is repeated for 15 seconds (`retry_after`), and a call may stall for 40 before it fails.
LATE = 60.0
_KEK = re.compile(r"sim:[\w-]+")


def judge(task: Task, step: Step, error: Exception) -> None:
    """Note an error that a step ended with, and fail where nothing explains it."""
    process: Process = task.process
    world, name, message = process.world, type(error).__name__, " ".join(str(error).split())
    world.scheduler.note(f"ends in {name}: {message[:160]}")
    if MARK in message or MARK in repr(error):
        world.fail(f"an error of {step.name} shows a plaintext")
    if not step.is_refused(error) and not _is_explained(
        process, error, message, world.scheduler.earlier(task.began, LATE)
    ):
        world.fail(f"{step.name} ends in {name}, which nothing explains: {message}")


def _is_explained(process: Process, error: Exception, message: str, since: float) -> bool:
    """Whether this happened to this process lately, and to the KEK that the error names."""
    world, troubles = process.world, process.troubles
    keks = _KEK.findall(message) or world.vault.keks
    refused = troubles.refused(keks) >= since
    shredded = bool(world.shredded) and ("shredded" in message or "destroyed" in message)
    if isinstance(error, KeyRevoked):
        return refused or shredded
    if isinstance(error, KeyUnavailable):
        # A migration says, too, whose rows it had to leave.
        left = "are left" in message and (refused or shredded)
        return left or troubles.unreachable(keks) >= since
    if isinstance(error, TamperedError):
        return troubles.at(Troubles.LIE) >= since
    by_database = DBAPIError | OperationalError | PendingRollbackError | ConfigurationError | RunInterrupted
    return isinstance(error, by_database) and troubles.at(Troubles.DATABASE) >= since


def last_look(process: Process) -> None:
    """Read everything and have the trail verified, before and after all rows are under their newest DEKs."""
    _look_at_all(process)
    if process.world.random.random() < 0.15:  # it takes as long as all the rest
        # The rows of a shredded tenant open for nobody, and so the column stays as it is.
        if not process.world.shredded:
            conversions.finish(process)
        rekeying.finish(process)
        _look_at_all(process)


def _look_at_all(process: Process) -> None:
    life.look(process)
    for tenant in process.world.tenants:
        try:
            actors.read_of(process, tenant)
        except KeyRevoked:
            if tenant != process.world.shredded:
                raise
