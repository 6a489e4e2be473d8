"""One vault: requests with bounded retries behind a circuit breaker."""

from __future__ import annotations

import time
from random import SystemRandom
from typing import Any

from azure.core.rest import HttpRequest

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.providers.azure.answers import TRANSIENT, Answer
from sqlalchemy_cmk.providers.azure.breaker import CircuitBreaker
from sqlalchemy_cmk.providers.azure.clients import VaultClient

FIRST_BACKOFF = 0.2

_random = SystemRandom()


class Vault:
    """Sends requests to one vault, again where that helps, and not at all while it is known to be dead.

    Args:
        host: its host name, for messages.
        client: sends one request.
        retries: how many times a request is repeated.
        retry_bound: seconds for which one request is repeated at most.
    """

    def __init__(self, host: str, client: VaultClient, retries: int, retry_bound: float) -> None:
        self._host = host
        self._client = client
        self._retries = retries
        self._retry_bound = retry_bound
        self._breaker = CircuitBreaker(time.monotonic)

    def get(self, path: str) -> Answer:
        """Ask for something."""
        return self._send("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Have a key used. Wrapping and unwrapping again does no harm, so that both are repeated."""
        return self._send("POST", path, body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        if not self._breaker.lets_through():
            raise KeyUnavailable(f"{self._host} has not answered lately; it is asked again in a moment")
        # A vault that is known to be dead is tried once, so that the one who tries is soon back.
        retries = 0 if self._breaker.tripped else self._retries
        give_up = time.monotonic() + self._retry_bound
        failure = KeyUnavailable(self._host)
        for attempt in range(retries + 1):
            wanted = 0.0
            try:
                answer = self._client.send(HttpRequest(method, path, json=body))
                if answer.status not in TRANSIENT:
                    self._breaker.succeeded()
                    return answer
                failure = KeyUnavailable(f"{self._host} answered {answer.status} {answer.code}".rstrip())
                wanted = answer.retry_after or 0.0
            except KeyUnavailable as error:
                failure = KeyUnavailable(f"{self._host}: {error}")
            pause = max(wanted, FIRST_BACKOFF * 2**attempt) * _random.uniform(1.0, 1.5)
            if attempt == retries or time.monotonic() + pause > give_up:
                break
            time.sleep(pause)
        self._breaker.failed(wanted)
        raise failure
