"""Calls to a service are repeated within bounds, and stop while it is known to be down."""

from collections.abc import Callable

import pytest

from sqlalchemy_cmk import CredentialError, KeyUnavailable
from sqlalchemy_cmk.providers import _retries
from sqlalchemy_cmk.providers._retries import Retries, Throttled


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_retries, "time", clock)
    monkeypatch.setattr(_retries, "elapsed", lambda: clock.now)
    return clock


def failing(times: int, error: Exception) -> tuple[list[float], Callable[[float], str]]:
    calls: list[float] = []

    def call(seconds: float) -> str:
        calls.append(seconds)
        if len(calls) <= times:
            raise error
        return "answer"

    return calls, call


def test_a_call_that_fails_is_repeated(clock: Clock) -> None:
    calls, call = failing(2, KeyUnavailable("no route"))
    assert Retries("vault", 3, 10).run(call) == "answer" and len(calls) == 3
    assert 0.2 <= clock.slept[0] <= 0.3 and 0.4 <= clock.slept[1] <= 0.6


def test_after_the_last_repetition_the_failure_is_raised(clock: Clock) -> None:
    calls, call = failing(9, KeyUnavailable("no route"))
    with pytest.raises(KeyUnavailable, match="no route"):
        Retries("vault", 2, 10).run(call)
    assert len(calls) == 3


def test_retry_after_is_waited_for_within_the_bound_only(clock: Clock) -> None:
    calls, call = failing(1, Throttled("429", 4))
    assert Retries("vault", 3, 10).run(call) == "answer" and 4 <= clock.slept[0] <= 6
    calls, call = failing(1, Throttled("429", 30))
    with pytest.raises(Throttled):
        Retries("vault", 3, 10).run(call)
    assert len(calls) == 1


def test_another_error_is_not_repeated(clock: Clock) -> None:
    calls, call = failing(1, CredentialError("no token"))
    with pytest.raises(CredentialError):
        Retries("vault", 3, 10).run(call)
    assert len(calls) == 1 and clock.slept == []


def test_a_service_that_is_down_is_not_called_until_the_pause_is_over(clock: Clock) -> None:
    retries = Retries("vault.example", 0, 10)
    calls, call = failing(9, KeyUnavailable("no route"))
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match="no route"):
            retries.run(call)
    with pytest.raises(KeyUnavailable, match=r"vault\.example has not answered lately"):
        retries.run(call)
    assert len(calls) == 2
    clock.now += 1
    with pytest.raises(KeyUnavailable, match="no route"):
        retries.run(call)
    assert len(calls) == 3
