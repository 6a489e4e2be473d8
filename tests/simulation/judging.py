"""Whether an error is one that what has happened explains; and what must hold when all is healed."""

from __future__ import annotations

from sqlite3 import OperationalError
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable, TamperedError
from tests.simulation import actors, conversions, life, rekeying
from tests.simulation.invariants import MARK

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.steps import Step
    from tests.simulation.world import World


def judge(world: World, process: Process, step: Step, error: Exception) -> None:
    """Note an error that a step ended with, and fail where nothing explains it."""
    name = type(error).__name__
    message = " ".join(str(error).split())
    world.scheduler.note(f"ends in {name}: {message[:160]}")
    if MARK in message or MARK in repr(error):
        world.fail(f"an error of {step.name} shows a plaintext")
    if isinstance(error, step.accepts):
        return
    explained = {
        KeyRevoked: world.revoked_ever or bool(world.shredded),
        KeyUnavailable: process.troubles.last(world.vault.keks) > float("-inf"),
        DBAPIError: process.troubles.last(world.vault.keks) > float("-inf"),
        OperationalError: process.troubles.last(world.vault.keks) > float("-inf"),
        TamperedError: process.lied_to_at > float("-inf"),
    }
    if not any(isinstance(error, kind) and so for kind, so in explained.items()):
        world.fail(f"{step.name} ends in {name}, which nothing explains: {message}")


def last_look(process: Process) -> None:
    """Read everything and have the trail verified, before and after all rows are under their newest DEKs."""
    _look_at_all(process)
    if process.world.random.random() < 0.3:  # it takes as long as all the rest
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
