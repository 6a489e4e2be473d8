"""Clients of the Azure SDK, one for each vault: blocking, or asynchronous on an event loop of their own."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient

from sqlalchemy_cmk.errors import CmkError, CredentialError, KeyUnavailable
from sqlalchemy_cmk.providers.azure.answers import Answer
from sqlalchemy_cmk.providers.azure.attempts import Attempts, make_session, too_slow
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest
from sqlalchemy_cmk.runtime.because import call_id

T = TypeVar("T")

LARGEST_BODY = 1 << 18
# Said with each request, so that no policy among the SDK's options follows one after all.
NO_REDIRECTS = {"permit_redirects": False}
# How azure-identity begins what it says of an answer: blocking credentials, then asynchronous ones.
ANSWERED = ("Authentication failed: ", "Unexpected response from", "No response content from")

_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)


class VaultClient(ABC):
    """Sends requests to one vault; the SDK adds the address, the API version and the token.

    Redirects are not followed, and no answer is read for longer than its caller waits.
    """

    def send(self, request: VaultRequest, seconds: float) -> Answer:
        """Return the answer, whatever its status.

        Args:
            request: the request.
            seconds: how long it is waited for, from the search for the host's address to the answer's last
                byte.

        Raises:
            KeyUnavailable: there was no answer: no connection, no DNS name, no trusted certificate, a
                time-out, half a body, or one that is no JSON object.
            CredentialError: no token could be obtained.
        """
        outcome = self._send(request, seconds)
        # The error is raised here, where no frame and no context of it holds the request's body.
        if isinstance(outcome, CmkError):
            raise outcome
        return outcome

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def _send(self, request: VaultRequest, seconds: float) -> Answer | CmkError: ...


class BlockingClient(VaultClient):
    """The blocking SDK client."""

    def __init__(self, vault_url: str, credential: Any, options: dict[str, Any]) -> None:
        if not {"transport", "session"} & options.keys():
            options = {**options, "session": make_session(options.get("use_env_settings", True))}
        self._client = KeyClient(vault_url, credential, **options)
        self._attempts = Attempts()

    def close(self) -> None:
        """Close the connections; the credential is the caller's to close."""
        self._client.close()

    def _send(self, request: VaultRequest, seconds: float) -> Answer | CmkError:
        options = _options()
        return self._attempts.within(seconds, lambda: self._answer(request, options))

    def _answer(self, request: VaultRequest, options: dict[str, Any]) -> Answer | CmkError:
        try:
            return _read(self._client.send_request(_sdk_request(request), **options))
        except (AzureError, ValueError, RecursionError) as error:
            return failure(error)


class AsyncClient(VaultClient):
    """The asynchronous SDK client, for an asynchronous credential, on a loop in a thread."""

    def __init__(self, vault_url: str, credential: Any, options: dict[str, Any], loop: Loop) -> None:
        self._loop = loop
        self._client = loop.run(self._make(vault_url, credential, options))

    def close(self) -> None:
        """Close the connections; the credential is the caller's to close."""
        self._loop.run(self._client.close())

    async def _make(self, vault_url: str, credential: Any, options: dict[str, Any]) -> AsyncKeyClient:
        return AsyncKeyClient(vault_url, credential, **options)

    def _send(self, request: VaultRequest, seconds: float) -> Answer | CmkError:
        return self._loop.run(self._answer(request, _options()), seconds)

    async def _answer(self, request: VaultRequest, options: dict[str, Any]) -> Answer | CmkError:
        try:
            response = await self._client.send_request(_sdk_request(request), **options)
            await response.read()
            return _read(response)
        except (AzureError, ValueError, RecursionError) as error:
            return failure(error)


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cmk-azure", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run a coroutine on the loop and return its result.

        Raises:
            KeyUnavailable: it has not ended within these seconds; its connection is closed.
        """
        running = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._loop)
        try:
            # A little longer, for the loop's own time-out comes first unless something blocks the loop.
            return running.result(None if seconds is None else seconds + 1)
        except TimeoutError:
            running.cancel()
        raise too_slow(seconds or 0)

    def close(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def is_async(credential: Any) -> bool:
    """Return whether a credential is one of ``azure.identity.aio``."""
    get = getattr(credential, "get_token", None) or getattr(credential, "get_token_info", None)
    return inspect.iscoroutinefunction(get)


def failure(error: AzureError | ValueError | RecursionError) -> CmkError:
    """Return the error for a request that had no answer."""
    if not isinstance(error, AzureError):
        # It does not parse, or is a challenge for another service, which the SDK refuses with a ValueError.
        return KeyUnavailable("what answers there is no vault, or its answer cannot be read")
    if isinstance(error, ClientAuthenticationError) and not (_is_network(error) or _is_foreign(error)):
        return CredentialError(
            f"no token could be obtained for the vault ({type(error).__name__}): the application's own "
            "credential has failed; renew its secret, or fix its sign-in"
        )
    return KeyUnavailable(f"it, or its sign-in service, cannot be reached now ({type(error).__name__})")


def _options() -> dict[str, Any]:
    """Return what is said with the request of the call that is being made.

    The vault's log has the id as the client's request id: the SDK would make up another each time.
    """
    call = call_id()
    return {**NO_REDIRECTS, "request_id": call} if call else {**NO_REDIRECTS}


def _sdk_request(request: VaultRequest) -> HttpRequest:
    content = request.content()
    headers = {} if content is None else {"Content-Type": "application/json"}
    return HttpRequest(request.method, request.path, headers=headers, content=content)


def _read(response: Any) -> Answer:
    wanted = response.headers.get("Retry-After", "")
    seconds = float(wanted) if _SECONDS.fullmatch(wanted) else None
    return Answer(response.status_code, _parse(response.content), seconds)


def _parse(raw: bytes) -> dict[str, Any]:
    """Return a body's JSON object; one that is none is not Key Vault's, and counts as empty."""
    if not 0 < len(raw) <= LARGEST_BODY:
        return {}
    try:
        body = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _is_foreign(error: ClientAuthenticationError) -> bool:
    """Return whether something else has answered in the place of Entra ID, whose refusals have a number.

    What was not answered at all, such as an identity that is not set up, is the application's own fault.
    """
    text = str(error)
    answered = error.status_code is not None or text.startswith(ANSWERED)
    return answered and "AADSTS" not in text


def _is_network(error: BaseException | None) -> bool:
    """Return whether a failed sign-in comes from the network: azure-identity reports both as one error."""
    while error is not None:
        if isinstance(error, OSError | ServiceRequestError | ServiceResponseError):
            return True
        error = error.__cause__ or error.__context__
    return False
