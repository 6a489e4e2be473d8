"""Places where KEKs live on Azure: vaults of the emulator, reached by the provider over TLS."""

from typing import Any
from uuid import uuid4

from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.providers.owners import TENANT_TAG
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault

# Failures are seen soon, while a busy machine's slow answers are waited for.
QUICK = {"retries": 1, "retry_bound": 30, "connection_timeout": 30, "read_timeout": 30}


class AzurePlace:
    """A vault or a Managed HSM with two keys, and what its owner can do there."""

    def __init__(self, emulator: KeyVaultEmulator, vault: Vault, kty: str | None = None) -> None:
        self.emulator = emulator
        self.vault = vault
        self.kek_uri = self._make("clinic-kek", kty)
        self.other_kek_uri = self._make("other-kek", kty)
        self.made: list[AzureKeyVaultProvider] = []
        self.provider = self.new_provider()

    def _make(self, name: str, kty: str | None) -> str:
        self.vault.create_key(name, kty, tags={TENANT_TAG: "acme"})
        return self.vault.key_uri(name)

    def rotate(self) -> None:
        self.vault.rotate_key("clinic-kek")

    def revoke(self) -> None:
        self.vault.disable_key("clinic-kek")

    def restore(self) -> None:
        self.vault.enable_key("clinic-kek")

    def lose(self, version: str) -> None:
        self.vault.disable_key("clinic-kek", version)

    def new_provider(self, **options: Any) -> AzureKeyVaultProvider:
        """A provider that looks the newest version up at each wrap; closed after the test."""
        settings = {"version_check": 0, **self.reach()}
        if "credential_for" not in options:
            settings["credential"] = self.emulator.credential
        provider = AzureKeyVaultProvider(**{**settings, **options})
        self.made.append(provider)
        return provider

    def reach(self) -> dict[str, Any]:
        return {"trusted_hosts": self.emulator.trusted_hosts, **QUICK, **self.emulator.client_options}

    def close(self) -> None:
        self.vault.faults.clear()
        self.emulator.login.faults.clear()
        for provider in self.made:
            provider.close()


def vault_place(emulator: KeyVaultEmulator, kty: str = "RSA", **options: Any) -> AzurePlace:
    """A new Key Vault."""
    return AzurePlace(emulator, emulator.vault(uuid4().hex, **options), kty)


def hsm_place(emulator: KeyVaultEmulator, kty: str = "oct-HSM") -> AzurePlace:
    """A new Managed HSM."""
    return AzurePlace(emulator, emulator.managed_hsm(uuid4().hex), kty)
