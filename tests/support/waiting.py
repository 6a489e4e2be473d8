"""Waits for what happens soon, and never for a time."""

import time
from collections.abc import Callable

SOON = 30


def until(happens: Callable[[], bool], seconds: float = SOON) -> None:
    """Return as soon as something has happened; fail if it has not within so many seconds."""
    ends = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < ends, "it has not happened"
        time.sleep(0.02)
