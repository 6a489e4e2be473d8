"""Timing in rounds: every contestant once a round, in changing order, so that drift meets all alike."""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")
Contestant = Callable[[], float]


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds of processor time that ``work`` takes in this process, and its result.

    Other work on the machine hardly changes processor time, and waiting for the disk does not hide in it what
    sealing costs. Garbage is collected before and not during the work, for the same reason.
    """
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        result = work()
        return time.process_time() - start, result
    finally:
        gc.enable()


class Rounds:
    """The seconds of each contestant, round by round. The first round warms up and does not count.

    Args:
        contestants: functions that prepare, time their work with :func:`timed` and return the seconds.
        count: how many rounds count.
    """

    def __init__(self, contestants: dict[str, Contestant], count: int) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(count + 1):
            names = list(contestants)
            for name in names if number % 2 else reversed(names):
                seconds = contestants[name]()
                if number:
                    self.seconds[name].append(seconds)

    def median(self, name: str) -> float:
        """Return the median seconds of a contestant."""
        return median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """Return the median over the rounds of one contestant's time by another's."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[base], strict=True))

    def added(self, name: str, plain: str) -> list[float]:
        """Return the seconds that a contestant took longer than another, for each round."""
        return [a - b for a, b in zip(self.seconds[name], self.seconds[plain], strict=True)]


def repeated(call: Callable[[], object], times: int) -> Contestant:
    """Return a contestant that calls something many times."""

    def work() -> None:
        for _ in range(times):
            call()

    return lambda: timed(work)[0]
