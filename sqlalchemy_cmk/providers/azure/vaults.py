"""The vaults that a provider has spoken to, each with a client and its credential. See :class:`Vaults`."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy_cmk.providers.azure.clients import AsyncClient, BlockingClient, Loop, is_async
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.vault import Vault
from sqlalchemy_cmk.runtime.forks import watch_forks


class Vaults:
    """Opens connections to vaults as they are needed; a forked child opens its own.

    Args:
        credential: for every vault, or a function that makes it, once in each process.
        credential_for: returns the credential for a vault's address.
        retries: how many times a request is repeated.
        retry_bound: seconds that a request takes at most, with its repetitions.
        options: arguments of the SDK's clients.
    """

    def __init__(
        self,
        credential: Any,
        credential_for: Callable[[str], Any] | None,
        retries: int,
        retry_bound: float,
        options: dict[str, Any],
    ) -> None:
        self._credential = credential
        self._credential_for = credential_for
        self._retries = retries
        self._retry_bound = retry_bound
        self._options = options
        self._lock = threading.Lock()
        self._vaults: dict[str, Vault] = {}
        self._loop: Loop | None = None
        self._made: Any = None
        watch_forks(self)

    def of(self, key: KeyIdentifier) -> Vault:
        """Return the vault of a key."""
        with self._lock:
            if key.vault_url not in self._vaults:
                client = self._client(key.vault_url)
                self._vaults[key.vault_url] = Vault(key.host, client, self._retries, self._retry_bound)
            return self._vaults[key.vault_url]

    def close(self) -> None:
        """Close the connections, and the credential if it was made here."""
        with self._lock:
            vaults, self._vaults = self._vaults, {}
            loop, self._loop = self._loop, None
            made, self._made = self._made, None
        for vault in vaults.values():
            vault.close()
        closing = made.close() if hasattr(made, "close") else None
        if loop is not None:
            if inspect.iscoroutine(closing):
                loop.run(closing)
            loop.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._lock = threading.Lock()
        self._vaults = {}
        self._loop = None
        self._made = None

    def _client(self, vault_url: str) -> AsyncClient | BlockingClient:
        credential = self._credential_of(vault_url)
        if not is_async(credential):
            return BlockingClient(vault_url, credential, self._options)
        self._loop = self._loop or Loop()
        return AsyncClient(vault_url, credential, self._options, self._loop)

    def _credential_of(self, vault_url: str) -> Any:
        if self._credential_for is not None:
            return self._credential_for(vault_url)
        if not callable(self._credential):
            return self._credential
        if self._made is None:
            self._made = self._credential()
        return self._made
