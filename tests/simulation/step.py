"""What a step is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy_cmk import CmkError

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
