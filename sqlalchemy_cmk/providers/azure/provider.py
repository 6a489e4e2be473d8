"""KEKs in Azure Key Vault (Standard, Premium) and Azure Managed HSM. See :class:`AzureKeyVaultProvider`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.azure.answers import Answer, is_ungranted, refuse, summary
from sqlalchemy_cmk.providers.azure.checks import check_key
from sqlalchemy_cmk.providers.azure.commands import Commands
from sqlalchemy_cmk.providers.azure.descriptions import Descriptions
from sqlalchemy_cmk.providers.azure.hosts import TrustedHosts
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier, is_version, parse_identifier
from sqlalchemy_cmk.providers.azure.keys import ALGORITHMS, VaultKey, algorithm_for, refuse_unfit
from sqlalchemy_cmk.providers.azure.onboarding import VaultOnboarding
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest
from sqlalchemy_cmk.providers.azure.vaults import Vaults
from sqlalchemy_cmk.providers.base import KekExpiry, KeyProvider, Wrapped, foreign_algorithm, foreign_version
from sqlalchemy_cmk.providers.onboarding import KekOnboarding, OnboardingRequest
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.kinds import described
from sqlalchemy_cmk.runtime.secret import Secret

DEFAULTS = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5, "user_agent": "sqlalchemy_cmk"}
# An RSA key of 4096 bits, the longest that vaults have, wraps into 512.
LONGEST_WRAPPING = 1024


class AzureKeyVaultProvider(KeyProvider):
    """Wraps and unwraps in the vault, always over the wire; needs get, wrapKey and unwrapKey, and no more.

    RSA and RSA-HSM keys wrap with RSA-OAEP-256, oct-HSM keys of a Managed HSM with A256KW.

    Args:
        credential: a credential of ``azure.identity`` or ``azure.identity.aio``, or a function without
            arguments that makes one. The function is called once in each process, and what it made is closed
            with the provider: a pre-forking server should give one, so that each worker has its own
            credential. A credential has time-outs of its own, by default minutes: give it
            ``connection_timeout``, ``read_timeout`` and ``retry_total``.
        credential_for: a function that returns the credential for a vault's address, for customers in
            directories of their own; called once for each vault and process. ``close`` leaves it open.
        trusted_hosts: further hosts to which tokens may be sent: ``"vault.example"``, ``"*.vault.example"``
            for exactly one label before a suffix, or ``"vault.example:8443"`` for an emulator; without a port
            it is 443. The hosts of Azure's clouds are known.
        version_check: seconds after which the newest version of a key without a version is looked up again.
            Default 3600.
        retries: how many times a request is repeated that did not reach the vault or was throttled. Default
            3.
        retry_bound: seconds that one request takes at most, with its repetitions, its sign-in and the last
            byte of its answer; a ``Retry-After`` beyond it is not waited for. Default 10.
        options: further arguments of the SDK's clients: ``connection_verify``, ``transport``, ``proxies``,
            ``retry_policy`` and others. ``user_agent="clinic/2.1"`` names the application in the vault's log;
            by default that is ``sqlalchemy_cmk``. The SDK's own retries are off by default; connections time
            out after 3 seconds and answers that do not begin, or pause, after 5. Redirects are never
            followed.

    Raises:
        ConfigurationError: not exactly one of ``credential`` and ``credential_for`` is given, or an argument
            is of the wrong kind.
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
            raise ConfigurationError("give AzureKeyVaultProvider either a credential or credential_for=")
        if isinstance(credential, str):
            raise ConfigurationError(
                "AzureKeyVaultProvider takes a credential, such as DefaultAzureCredential(), and no text: "
                "vaults are named by the URIs of KEKs"
            )
        self._hosts = TrustedHosts(trusted_hosts)
        for name, value in (
            ("version_check", version_check),
            ("retries", retries),
            ("retry_bound", retry_bound),
        ):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigurationError(f"{name} is a number, 0 or more, not {described(value)}")
        if not 0 < retry_bound < math.inf:
            raise ConfigurationError("retry_bound is how long a request may take: give seconds, more than 0")
        self._signs_in_as = "credential_for=..." if credential is None else type(credential).__name__
        self._descriptions = Descriptions(version_check)
        self._vaults = Vaults(credential, credential_for, retries, retry_bound, {**DEFAULTS, **options})

    def __repr__(self) -> str:
        return f"AzureKeyVaultProvider({self._signs_in_as})"

    def handles(self, kek_uri: str) -> bool:
        """Return whether the URI is a key identifier in a vault to which tokens may be sent."""
        key = parse_identifier(kek_uri)
        return key is not None and self._hosts.trusts(key)

    def place_of(self, kek_uri: str) -> str:
        """Return the vault's address: its keys are out of reach together."""
        return self._identify(kek_uri).vault_url

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a DEK with the newest version of the key, or the one that the URI names.

        Raises:
            KeyRevoked: the vault refuses, or the key is gone, expired or not valid yet.
            KeyUnavailable: the vault cannot be reached now.
            CredentialError: the application's own credential failed.
            ConfigurationError: keys of its kind cannot wrap.
        """
        key = self._identify(kek_uri)
        vault_key = self._descriptions.get(kek_uri) or self._look_up(kek_uri)
        # The vault itself still wraps with a disabled key.
        refuse_unfit(vault_key, kek_uri, time.time())
        algorithm = algorithm_for(vault_key, kek_uri)
        value = self._use(key, vault_key.version, "wrapKey", algorithm, dek, kek_uri)
        wrapped = Wrapped(kek_uri, vault_key.version, algorithm, value.reveal())
        self.check_wrapping(wrapped)
        return wrapped

    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Return the DEK, unwrapped in the vault by the version that wrapped it.

        Raises:
            TamperedError: this key has not made the wrapped bytes, or see :meth:`check_wrapping`.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        self.check_wrapping(wrapped)
        key, kek_uri = self._identify(wrapped.kek_uri), wrapped.kek_uri
        data = Secret(wrapped.data)
        dek = self._use(key, wrapped.kek_version, "unwrapKey", wrapped.algorithm, data, kek_uri)
        if len(dek) != DEK_BYTES:
            raise TamperedError(f"{kek_uri}: unwrapKey gave {len(dek)} bytes instead of {DEK_BYTES}")
        return dek

    def check_wrapping(self, wrapped: Wrapped) -> None:
        """Refuse a version that is none of Key Vault's, and an algorithm that this provider never uses.

        Raises:
            TamperedError: it is one of these, not the version that the URI names, or longer than any wrapped
                DEK.
        """
        pinned = self._identify(wrapped.kek_uri).version
        if not is_version(wrapped.kek_version) or pinned not in (None, wrapped.kek_version):
            raise foreign_version(wrapped)
        if wrapped.algorithm not in ALGORITHMS.values():
            raise foreign_algorithm(wrapped)
        if len(wrapped.data) > LONGEST_WRAPPING:
            raise TamperedError(f"{wrapped.kek_uri}: {len(wrapped.data)} bytes are not a wrapped DEK")

    def newest_version(self, kek_uri: str) -> str:
        """Return the version that wraps now; the vault is asked."""
        return self._look_up(kek_uri).version

    def expiry_of(self, kek_uri: str) -> KekExpiry | None:
        """Return when the key expires, as the vault has last described it."""
        return self._descriptions.expiry(kek_uri)

    def owners(self, kek_uri: str, tag: str) -> Owners:
        """Return which tenants the key's tag names: that of the newest version, or the one the URI names.

        Raises:
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        return Owners.read(self._look_up(kek_uri).tags.get(tag, ""))

    def check(self, kek_uri: str) -> None:
        """Refuse a key of the wrong kind, without the operations, or outside its dates; then try it.

        Raises:
            ConfigurationError: it is of the wrong kind, or the vault has no key of this name.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        refuse_unfit(self._look_up(kek_uri, never_used=True), kek_uri, time.time())
        super().check(kek_uri)

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Refuse a key that does not exist, before anything is wrapped by it. This provider makes none.

        Raises:
            ConfigurationError: the vault has no key of this name.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        self._look_up(kek_uri, never_used=True)

    def forget(self) -> None:
        """Drop what vaults have said of their keys; they are asked again."""
        self._descriptions.clear()

    def health_checks(self, kek_uri: str) -> list[Finding]:
        """Check what Microsoft requires or recommends for a customer-managed key."""
        findings = super().health_checks(kek_uri)
        if any(one.level is Level.PROBLEM for one in findings):
            grant = Commands(self._identify(kek_uri)).assign_role()
            return [replace(one, remedy=grant) if is_ungranted(one.what) else one for one in findings]
        key = self._identify(kek_uri)
        return findings + check_key(self._look_up(kek_uri), kek_uri, key, self._vaults.of(key))

    def onboarding(self, kek_uri: str, request: OnboardingRequest) -> KekOnboarding:
        """Return what the key's owner has to do, and whether it was done."""
        key = self._identify(kek_uri)
        return VaultOnboarding(key, request, lambda: self._vaults.of(key))

    def close(self) -> None:
        """Close the connections to every vault, and the credential if this provider has made it."""
        self._vaults.close()

    def _identify(self, kek_uri: str) -> KeyIdentifier:
        key = parse_identifier(kek_uri)
        if key is None or not self._hosts.trusts(key):
            raise ConfigurationError(
                f"'{shown(kek_uri)}' is not a key identifier in a trusted vault: write "
                "https://VAULT/keys/NAME, and see trusted_hosts="
            )
        return key

    def _look_up(self, kek_uri: str, *, never_used: bool = False) -> VaultKey:
        key = self._identify(kek_uri)
        self._descriptions.drop(kek_uri)
        answer = self._vaults.of(key).get(key.at(key.version))
        if answer.status == 404 and never_used:
            raise self._missing(key, kek_uri, answer)
        if answer.status != 200:
            refuse(answer, kek_uri, "get")
        found = VaultKey.read(answer.body, key)
        self._descriptions.put(kek_uri, found)
        return found

    def _missing(self, key: KeyIdentifier, kek_uri: str, answer: Answer) -> CmkError:
        """Return the error for a key that is not there and that nothing needs: deleted, or never made."""
        what = summary(answer, kek_uri, "get")
        if self._vaults.of(key).get(f"deletedkeys/{key.name}").status == 200:
            return KeyRevoked(f"{what}: the key is deleted: its owner can recover it")
        return ConfigurationError(
            f"{what}: there is no such key in this vault, or it was deleted: check its name and version"
        )

    def _use(
        self, key: KeyIdentifier, version: str, operation: str, algorithm: str, value: Secret, kek_uri: str
    ) -> Secret:
        request = VaultRequest("POST", f"{key.at(version)}/{operation.lower()}", {"alg": algorithm}, value)
        answer = self._vaults.of(key).send(request)
        if answer.status != 200:
            # Perhaps only this version was disabled: look for a newer one before the next wrap.
            self._descriptions.drop(kek_uri)
            refuse(answer, kek_uri, operation)
        result = answer.value()
        if result is None:
            raise KeyUnavailable(f"{kek_uri}: the vault's answer to {operation} holds no value")
        return result
