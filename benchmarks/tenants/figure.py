"""What a benchmark of many tenants is given, and what it returns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        work: what was measured, with its unit where it is no ratio.
        target: what it may be at most; ``None`` where it is shown alone.
        measured: what it was.
    """

    work: str
    target: float | None
    measured: float


@dataclass(frozen=True)
class Setting:
    """What a benchmark runs with.

    Attributes:
        folder: an empty folder of its own.
        tenants: how many tenants.
        rounds: how many rounds count, of which the median is taken.
        seconds: for how long what is tried at random goes on.
    """

    folder: Path
    tenants: int = 10_000
    rounds: int = 9
    seconds: float = 60.0


Benchmark = Callable[[Setting], Iterable[Figure]]
