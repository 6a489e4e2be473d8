"""The steps that processes take, and which errors each may end in besides those of faults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy_cmk import CmkError
from tests.simulation import actors, conversions, life, rekeying

if TYPE_CHECKING:
    from tests.simulation.process import Process


@dataclass(frozen=True)
class Step:
    """Something that a process does in a task of its own.

    Attributes:
        weight: how often, compared to other steps.
        refusals: what errors say where it asked for what is not possible.
    """

    name: str
    work: Callable[[Process], None]
    weight: float
    refusals: tuple[str, ...] = ()

    def is_refused(self, error: Exception) -> bool:
        """Whether the library says that this step asked for what is not possible."""
        return isinstance(error, CmkError) and any(re.search(one, str(error)) for one in self.refusals)


# Where no row of it was ever written.
NO_KEYS = r"^no tenant '\w+' has keys here$"
# Two workers of one job: the later one goes on.
TAKEN_OVER = r"^run \w+ was taken over by another process$"
# Writers that were begun before have not ended.
WRITING = r"^a transaction has been writing"

CONVERT = Step(
    "convert",
    conversions.convert,
    2,
    (
        r"is sealed already, in another way$",
        r"is sealed with deterministic=",
        r": phase '(copy|swap)' comes after phase 'expand'$",
    ),
)

STEPS = (
    Step("write", actors.write, 12),
    Step("read", actors.read, 8),
    Step("find", actors.find, 2),
    Step("visit", conversions.visit, 5),
    CONVERT,
    Step("warm", life.warm, 1),
    Step("assign", life.assign, 2),
    Step("add_wrapping", life.add_wrapping, 1, (NO_KEYS, r"has no DEK yet: call keyring\.warm first$")),
    Step("drop_wrapping", life.drop_wrapping, 1, (NO_KEYS, r"is the last KEK of DEK")),
    Step("rotate_dek", life.rotate_dek, 3, (NO_KEYS,)),
    Step("rewrap", life.rewrap, 1, (NO_KEYS,)),
    Step("drop_retired", rekeying.drop, 3, (NO_KEYS, WRITING)),
    Step("rekey", rekeying.rekey, 3, (TAKEN_OVER,)),
    Step("renew", rekeying.renew, 2, (NO_KEYS, TAKEN_OVER, WRITING)),
    Step("renew_patiently", rekeying.renew_patiently, 4, (NO_KEYS, TAKEN_OVER, WRITING)),
    Step("set_grace", life.set_grace, 0.5, (NO_KEYS,)),
    Step("rotate_record_key", life.rotate_record_key, 0.5),
    Step("shred", life.shred, 0.3, (NO_KEYS,)),
    Step("notice_rotations", life.notice_rotations, 0.5),
    Step("forget", life.forget, 0.5),
    Step("look", life.look, 0.5),
)
