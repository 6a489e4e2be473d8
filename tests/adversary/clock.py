"""A clock that an operator moves forward, so that hours pass in a moment."""

import time


class MovedClock:
    """Seconds that go on by themselves, and further when they are moved on."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
