"""Timing in rounds: every contestant once a round, in changing order, so that drift meets all alike."""

import gc
import time
from collections.abc import Callable
from statistics import median


def rounds(contestants: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Return the median seconds of each contestant, which sets itself up and returns seconds or is timed."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(count + 1):
        names = list(contestants)
        for name in names if number % 2 else reversed(names):
            gc.collect()
            start = time.perf_counter()
            own = contestants[name]()
            elapsed = own if isinstance(own, float) else time.perf_counter() - start
            if number:
                seconds[name].append(elapsed)
    return {name: median(values) for name, values in seconds.items()}


def repeated(call: Callable[[], object], times: int = 20_000) -> Callable[[], float]:
    """Return a contestant that calls something many times."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(times):
            call()
        return time.perf_counter() - start

    return run
