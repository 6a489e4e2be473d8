"""The SDK's clients, one for each vault: blocking, or asynchronous on a loop of their own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError, KeyUnavailable
from sqlalchemy_cmk.providers.azure.answers import TRANSIENT, Answer

T = TypeVar("T")


class VaultClient(ABC):
    """Sends requests to one vault over the wire; the SDK adds address, version and token."""

    def send(self, request: HttpRequest) -> Answer:
        """Return the answer, whatever its status.

        Raises:
            KeyUnavailable: there was none: no connection, no name, no trust, no time, or half a body.
            CredentialError: no token could be had.
            ConfigurationError: the address is not that of a vault.
        """
        try:
            response = self._send(request)
            body = response.json() if response.content else {}
        except AzureError as error:
            raise failure(error) from None
        except ValueError as error:
            raise _no_vault(error) from None
        after = response.headers.get("Retry-After", "")
        wanted = float(after) if after.replace(".", "", 1).isdigit() else None
        return Answer(response.status_code, body if isinstance(body, dict) else {}, wanted)

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def _send(self, request: HttpRequest) -> Any: ...


class BlockingClient(VaultClient):
    """The blocking SDK client."""

    def __init__(self, vault_url: str, credential: Any, options: dict[str, Any]) -> None:
        self._client = KeyClient(vault_url, credential, **options)

    def close(self) -> None:
        """Close the connections; the credential is its giver's."""
        self._client.close()

    def _send(self, request: HttpRequest) -> Any:
        return self._client.send_request(request)


class AsyncClient(VaultClient):
    """The asynchronous SDK client, for an asynchronous credential, on a loop in a thread."""

    def __init__(self, vault_url: str, credential: Any, options: dict[str, Any], loop: Loop) -> None:
        self._loop = loop
        self._client = loop.run(self._make(vault_url, credential, options))

    def close(self) -> None:
        """Close the connections; the credential is its giver's."""
        self._loop.run(self._client.close())

    async def _make(self, vault_url: str, credential: Any, options: dict[str, Any]) -> AsyncKeyClient:
        return AsyncKeyClient(vault_url, credential, **options)

    def _send(self, request: HttpRequest) -> Any:
        return self._loop.run(self._read(request))

    async def _read(self, request: HttpRequest) -> Any:
        response = await self._client.send_request(request)
        await response.read()
        return response


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cmk-azure", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return its outcome."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def is_async(credential: Any) -> bool:
    """Tell whether a credential is one of ``azure.identity.aio``."""
    get = getattr(credential, "get_token", None) or getattr(credential, "get_token_info", None)
    return inspect.iscoroutinefunction(get)


def failure(error: AzureError) -> CmkError:
    """Return what it means that a request had no answer."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    refused = isinstance(error, ClientAuthenticationError) and status not in TRANSIENT
    if refused and not _is_network(error):
        return CredentialError(
            f"no token could be had for the vault ({type(error).__name__}): the application's own credential "
            "has failed; renew its secret, or mend its sign-in"
        )
    return KeyUnavailable(f"it, or its sign-in service, cannot be reached now ({type(error).__name__})")


def _is_network(error: BaseException | None) -> bool:
    """Tell whether a failed sign-in comes from the network: azure-identity reports both as one error."""
    while error is not None:
        if isinstance(error, OSError | ServiceRequestError | ServiceResponseError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _no_vault(error: ValueError) -> CmkError:
    # The SDK refuses a challenge for another resource; JSON that does not parse is a ValueError too.
    if "challenge" in str(error).lower():
        return ConfigurationError("the address is not that of a vault: its challenge names another resource")
    return KeyUnavailable("the vault's answer cannot be read")
