"""Bounded retries behind a circuit breaker, for providers that call a service over the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import SystemRandom
from typing import TypeVar

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.providers._breaker import CircuitBreaker
from sqlalchemy_cmk.runtime.clock import elapsed

T = TypeVar("T")

FIRST_BACKOFF = 0.2

_random = SystemRandom()


class Throttled(KeyUnavailable):
    """A service that answered, and asks to be called again later.

    Attributes:
        retry_after: seconds after which it wants to be called again (``Retry-After``); 0 if it does not say.
    """

    # An error is made again from its message alone where it is copied, and where it comes out of a pickle.
    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Retries:
    """Repeats calls to one service while that may help, and makes none while the service is known to be down.

    Args:
        service: its host name, for messages.
        retries: how many times a call is repeated.
        bound: seconds that a call takes at most, with its repetitions and the pauses between them.
    """

    def __init__(self, service: str, retries: int, bound: float) -> None:
        self._service = service
        self._retries = retries
        self._bound = bound
        self._breaker = CircuitBreaker(elapsed)

    def run(self, call: Callable[[float], T]) -> T:
        """Return the result of a call.

        Args:
            call: makes the call within the seconds that it is given; it is repeated if it raises
                :class:`KeyUnavailable`, and other errors are raised at once.

        Raises:
            KeyUnavailable: the service could not be reached, or the breaker is open.
        """
        if not self._breaker.lets_through():
            raise KeyUnavailable(f"{self._service} has not answered lately; it is asked again in a moment")
        # While the breaker is tripped a single attempt is made, so that its caller does not wait long.
        retries = 0 if self._breaker.tripped else self._retries
        give_up = elapsed() + self._bound
        for attempt in range(retries + 1):
            try:
                result = call(give_up - elapsed())
            except KeyUnavailable as error:
                failure = error
            else:
                self._breaker.succeeded()
                return result
            wanted = failure.retry_after if isinstance(failure, Throttled) else 0.0
            pause = max(wanted, FIRST_BACKOFF * 2**attempt) * _random.uniform(1.0, 1.5)
            if attempt == retries or elapsed() + pause >= give_up:
                break
            time.sleep(pause)
        self._breaker.failed(wanted)
        raise failure
