"""The steps that processes take, and which errors each may end in besides those of faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy_cmk import ConfigurationError, KeyUnavailable, RunInterrupted
from tests.simulation import actors, conversions, life, rekeying

if TYPE_CHECKING:
    from tests.simulation.process import Process


@dataclass(frozen=True)
class Step:
    """Something that a process does in a task of its own.

    Attributes:
        weight: how often, compared to other steps.
        accepts: errors that say that it asked for what is not possible.
    """

    name: str
    work: Callable[[Process], None]
    weight: float
    accepts: tuple[type[Exception], ...] = ()


# It says of a KEK that refuses, too, that the migration can be run again when it serves.
CONVERT = Step("convert", conversions.convert, 4, (ConfigurationError, RunInterrupted, KeyUnavailable))

STEPS = (
    Step("write", actors.write, 12),
    Step("read", actors.read, 8),
    Step("find", actors.find, 2),
    Step("visit", conversions.visit, 5),
    CONVERT,
    Step("warm", life.warm, 1),
    Step("assign", life.assign, 2),
    Step("add_wrapping", life.add_wrapping, 1, (ConfigurationError,)),
    Step("drop_wrapping", life.drop_wrapping, 1, (ConfigurationError,)),
    Step("rotate_dek", life.rotate_dek, 3, (ConfigurationError,)),
    Step("rewrap", life.rewrap, 1, (ConfigurationError,)),
    Step("drop_retired", rekeying.drop, 3, (ConfigurationError,)),
    Step("rekey", rekeying.rekey, 3, (RunInterrupted,)),
    Step("renew", rekeying.renew, 2, (ConfigurationError, RunInterrupted)),
    Step("shred", life.shred, 0.3, (ConfigurationError,)),
    Step("notice_rotations", life.notice_rotations, 0.5),
    Step("forget", life.forget, 0.5),
    Step("look", life.look, 0.5),
)
