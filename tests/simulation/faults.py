"""What fails, as the seed says: statements and commits, calls of the vault, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from sqlalchemy_cmk import KeyUnavailable
from tests.simulation.access import Troubles

if TYPE_CHECKING:
    from tests.simulation.process import Process

SIMULATED = "simulated"


@dataclass(frozen=True)
class Rates:
    """How often each fault happens, from 0 to 1."""

    statement: float = 0.0
    commit: float = 0.0
    commit_unnoticed: float = 0.0
    unreachable: float = 0.0
    stall: float = 0.0
    lie: float = 0.0

    @classmethod
    def chosen(cls, random: Random) -> Rates:
        """Rates of a seed: each fault is absent in many seeds, and all are in some: others get further."""
        if random.random() < 0.4:
            return cls()

        def rate(most: float) -> float:
            return random.choice((0.0, random.uniform(0, most)))

        return cls(rate(0.02), rate(0.04), rate(0.02), rate(0.1), rate(0.1), rate(0.05))


class Faults:
    """Decides at each opportunity whether a fault happens.

    Attributes:
        rates: how often.
        unreachable: URIs of the KEKs that cannot be reached for a while.
    """

    def __init__(self, random: Random, rates: Rates) -> None:
        self._random = random
        self.rates = rates
        self.unreachable: set[str] = set()

    def heal(self) -> None:
        """Have nothing fail from now on."""
        self.rates = Rates()
        self.unreachable.clear()

    def happens(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def on_the_way(self, process: Process, kek_uri: str) -> None:
        """Hold up a call of the vault, or lose it."""
        if self.happens(self.rates.stall):
            process.scheduler.note(f"the call of {kek_uri} stalls")
            self._stall(process, self._random.uniform(0.1, 40))
        if kek_uri in self.unreachable or self.happens(self.rates.unreachable):
            process.troubles.note(kek_uri)
            raise KeyUnavailable(f"{kek_uri} cannot be reached ({SIMULATED})")

    def _stall(self, process: Process, seconds: float) -> None:
        process.stalled += 1
        if process.keeps_calls_waiting():
            process.troubles.note(Troubles.THREADS)
        process.scheduler.sleep(seconds)
        if process.keeps_calls_waiting():
            process.troubles.note(Troubles.THREADS)
        process.stalled -= 1

    def lies(self, process: Process, kek_uri: str) -> bool:
        """Whether the vault handles another key than the one that it was given."""
        if not self.happens(self.rates.lie):
            return False
        process.scheduler.note(f"{kek_uri} lies")
        process.troubles.note(Troubles.LIE)
        return True
