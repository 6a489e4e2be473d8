"""One vault: requests over the wire, repeated within bounds, behind a circuit breaker."""

from __future__ import annotations

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.providers._retries import Retries, Throttled
from sqlalchemy_cmk.providers.azure.answers import Answer
from sqlalchemy_cmk.providers.azure.clients import VaultClient
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest


class Vault:
    """Sends requests to one vault.

    Args:
        host: its host name, for messages.
        client: sends one request.
        retries: how many times a request is repeated.
        retry_bound: seconds that one request takes at most, with its repetitions.
    """

    def __init__(self, host: str, client: VaultClient, retries: int, retry_bound: float) -> None:
        self._host = host
        self._client = client
        self._attempts = Retries(host, retries, retry_bound)

    def get(self, path: str) -> Answer:
        """Return the vault's answer to a GET request."""
        return self.send(VaultRequest("GET", path))

    def send(self, request: VaultRequest) -> Answer:
        """Return the vault's answer to a request; wrapping and unwrapping can be repeated without harm.

        Raises:
            KeyUnavailable: there was no answer in time, or none that a vault gives: a gateway's page, a
                redirect, a server error, a 429.
        """
        return self._attempts.run(lambda seconds: self._send(request, seconds))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, request: VaultRequest, seconds: float) -> Answer:
        try:
            answer = self._client.send(request, seconds)
        except KeyUnavailable as error:
            raise KeyUnavailable(f"{self._host}: {error}") from None
        if not answer.is_verdict:
            raise Throttled(
                f"{self._host} answered {answer.status} {answer.code}".rstrip(), answer.retry_after or 0.0
            )
        return answer
