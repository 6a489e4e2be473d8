"""A loop is kept at or below its rate."""

import pytest

from sqlalchemy_cmk.runtime import pace
from sqlalchemy_cmk.runtime.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("rate", "seconds"), [(10, 1.9), (None, 0)])
def test_twenty_turns_take_as_long_as_the_rate_says(
    monkeypatch: pytest.MonkeyPatch, rate: float | None, seconds: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    limit = Pace(rate)
    for _ in range(20):
        limit.wait()
    assert clock.now == pytest.approx(seconds)
