"""KEKs in Azure Key Vault (Standard, Premium) and Azure Managed HSM. See :class:`AzureKeyVaultProvider`."""

from __future__ import annotations

import inspect
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.forks import watch_forks
from sqlalchemy_cmk.providers.azure.answers import Answer, refuse
from sqlalchemy_cmk.providers.azure.clients import AsyncClient, BlockingClient, Loop, is_async
from sqlalchemy_cmk.providers.azure.examination import examine_key
from sqlalchemy_cmk.providers.azure.identifiers import AZURE_HOSTS, KeyIdentifier, parse_identifier
from sqlalchemy_cmk.providers.azure.keys import VaultKey, algorithm_for, refuse_unfit
from sqlalchemy_cmk.providers.azure.vault import Vault
from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level, Wrapped
from sqlalchemy_cmk.sealing import DEK_BYTES

DEFAULTS = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5}


class AzureKeyVaultProvider(KeyProvider):
    """Wraps and unwraps in the vault, always over the wire; it needs get, wrapKey and unwrapKey, no more.

    RSA and RSA-HSM keys wrap with RSA-OAEP-256, oct-HSM keys of a Managed HSM with A256KW.

    Args:
        credential: one of ``azure.identity`` or ``azure.identity.aio``, or a callable without arguments
            that makes one, called once in each process: a pre-forking server should give that, so that each
            worker makes its own. What it made is closed with the provider. A credential has time-outs of
            its own, by default minutes: give it ``connection_timeout``, ``read_timeout`` and ``retry_total``.
        credential_for: returns the credential for a vault's address, for customers in directories of
            their own; called once for each vault and process. It stays its giver's: ``close`` leaves it open.
        trusted_hosts: further host names, or patterns such as ``"*.vault.example"``, that may be sent
            tokens. Azure's clouds are known.
        version_check: seconds after which the newest version of a key without a version is looked up again.
        retries: how many times a request that did not reach the vault, or was throttled, is repeated.
        retry_bound: seconds for which one request is repeated at most; ``Retry-After`` is kept to within it.
        options: further arguments of the SDK's clients: ``connection_verify``, ``transport``, ``proxies``,
            ``retry_policy`` and others. Their own retries are off unless asked for; connections time out
            after 3 seconds and answers after 5.

    Raises:
        ConfigurationError: neither ``credential`` nor ``credential_for`` is given, or both.
    """

    def __init__(
        self,
        credential: Any = None,
        *,
        credential_for: Callable[[str], Any] | None = None,
        trusted_hosts: Iterable[str] = (),
        version_check: float = 3600,
        retries: int = 3,
        retry_bound: float = 10,
        **options: Any,
    ) -> None:
        if (credential is None) == (credential_for is None):
            raise ConfigurationError("give AzureKeyVaultProvider a credential, or credential_for=")
        self._credential = credential
        self._credential_for = credential_for
        self._hosts = (*AZURE_HOSTS, *trusted_hosts)
        self._version_check = version_check
        self._retries = retries
        self._retry_bound = retry_bound
        self._options = {**DEFAULTS, **options}
        self._lock = threading.Lock()
        self._vaults: dict[str, Vault] = {}
        self._newest: dict[str, tuple[float, VaultKey]] = {}
        self._loop: Loop | None = None
        self._made: Any = None
        watch_forks(self)

    def handles(self, kek_uri: str) -> bool:
        """Tell whether the URI is a key identifier in a vault that may be sent tokens."""
        key = parse_identifier(kek_uri)
        return key is not None and any(fnmatchcase(key.host, pattern) for pattern in self._hosts)

    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
        """Wrap a DEK with the newest version of the key, or the one that the URI names.

        Raises:
            KeyRevoked: the vault refuses, or the key is gone, expired or not yet valid.
            KeyUnavailable: the vault cannot be reached now.
            CredentialError: the application's own credential failed.
            ConfigurationError: the key is of a kind that cannot wrap.
        """
        key, vault_key = self._identify(kek_uri), self._current(kek_uri)
        # The vault goes on wrapping with a disabled key.
        refuse_unfit(vault_key, kek_uri, time.time())
        algorithm = algorithm_for(vault_key, kek_uri)
        value = self._use(key, vault_key.version, "wrapKey", algorithm, dek, kek_uri)
        return Wrapped(kek_uri, vault_key.version, algorithm, value)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the DEK, unwrapped in the vault by the version that wrapped it.

        Raises:
            TamperedError: the wrapped bytes are not what this key made.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        key = self._identify(wrapped.kek_uri)
        use = (wrapped.algorithm, wrapped.data, wrapped.kek_uri)
        try:
            return self._use(key, wrapped.kek_version, "unwrapKey", *use)
        except KeyRevoked:
            # Perhaps only this version was switched off: a newer one is looked for before the next wrap.
            self._newest.pop(wrapped.kek_uri, None)
            raise

    def newest_version(self, kek_uri: str) -> str:
        """Look up the version that wraps now."""
        return self._look_up(kek_uri).version

    def check(self, kek_uri: str) -> None:
        """Refuse a key that is of a wrong kind, lacks operations, or is outside its dates; then try it."""
        refuse_unfit(self._look_up(kek_uri), kek_uri, time.time())
        super().check(kek_uri)

    def examine(self, kek_uri: str) -> list[Finding]:
        """Look at what Microsoft requires or recommends for a CMK."""
        findings = super().examine(kek_uri)
        if any(one.level is Level.PROBLEM for one in findings):
            return findings
        key = self._identify(kek_uri)
        return findings + examine_key(self._look_up(kek_uri), kek_uri, key, self._vault(key))

    def close(self) -> None:
        """Close the connections to every vault, and the credential if it was made here."""
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
        """Leave the parent's connections to the parent: the child opens its own."""
        self._lock = threading.Lock()
        self._vaults = {}
        self._loop = None
        self._made = None

    def _identify(self, kek_uri: str) -> KeyIdentifier:
        key = parse_identifier(kek_uri)
        if key is None or not self.handles(kek_uri):
            raise ConfigurationError(f"{kek_uri!r} is not a key identifier in a vault that is trusted here")
        return key

    def _vault(self, key: KeyIdentifier) -> Vault:
        with self._lock:
            if key.vault_url not in self._vaults:
                client = self._client(key.vault_url)
                self._vaults[key.vault_url] = Vault(key.host, client, self._retries, self._retry_bound)
            return self._vaults[key.vault_url]

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

    def _current(self, kek_uri: str) -> VaultKey:
        known = self._newest.get(kek_uri)
        if known is not None and time.monotonic() < known[0] + self._version_check:
            return known[1]
        return self._look_up(kek_uri)

    def _look_up(self, kek_uri: str) -> VaultKey:
        key = self._identify(kek_uri)
        answer = self._vault(key).get(key.at(key.version or ""))
        if answer.status != 200:
            refuse(answer, kek_uri, "get")
        found = VaultKey.read(answer.body, kek_uri)
        if found.enabled:
            self._newest[kek_uri] = time.monotonic(), found
        return found

    def _use(
        self, key: KeyIdentifier, version: str, operation: str, algorithm: str, value: bytes, kek_uri: str
    ) -> bytes:
        # Base64url without padding: a Managed HSM reads padding as a byte more.
        text = urlsafe_b64encode(value).rstrip(b"=").decode()
        path = f"{key.at(version)}/{operation.lower()}"
        answer = self._vault(key).post(path, {"alg": algorithm, "value": text})
        if answer.status != 200:
            refuse(answer, kek_uri, operation)
        result = _value(answer, kek_uri)
        if operation == "unwrapKey" and len(result) != DEK_BYTES:
            raise TamperedError(f"{kek_uri}: unwrapKey gave {len(result)} bytes instead of {DEK_BYTES}")
        return result


def _value(answer: Answer, kek_uri: str) -> bytes:
    text = answer.body.get("value")
    if isinstance(text, str) and text:
        try:
            return urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except Base64Error:
            pass
    raise KeyUnavailable(f"{kek_uri}: the vault's answer holds no value")
