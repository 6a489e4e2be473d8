"""Keys in Azure Key Vault: a real one, or those of the library's emulator, which the same SDK talks to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from examples.portal.vaults import SHOWN, Request, Vault
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.testing.errors import ServiceError

if TYPE_CHECKING:
    from sqlalchemy_cmk.testing import Vault as Emulated

KEY, WEST = "clinic-kek", "clinic-kek-west"


class KeyVault(Vault):
    """A key in a real Key Vault, which its owner looks after in Azure's own portal.

    Args:
        before: the vault in which the key was until now; it goes on serving until the key has moved.
        kek_uri: the key's identifier.
    """

    kind = "key in Azure Key Vault: look after it in Azure's portal"
    second_region = ""
    state = "elsewhere"
    actions: Sequence[str] = ()

    def __init__(self, before: Vault, kek_uri: str) -> None:
        from azure.identity import DefaultAzureCredential

        self.title = before.title
        self.kek_uri = kek_uri
        self.former = (before.kek_uri,)
        self.providers = (AzureKeyVaultProvider(DefaultAzureCredential()), *before.providers)

    def versions(self) -> list[str]:
        return [self.providers[0].newest_version(self.kek_uri)]

    def change(self, action: str) -> None:
        """Do nothing: nobody but the owner can."""

    def log(self) -> list[Request]:
        return []


class EmulatedKeyVault(Vault):
    """A vault of the emulator: certificates, tokens and answers as Azure's. Its keys end with the process.

    Args:
        vault: the emulated vault.
        tenant: the tenant whose it is, which its keys name.
        title: whose it is, in words.
        provider: by which the application reaches it.
    """

    kind = "emulated Azure Key Vault"

    def __init__(self, vault: Emulated, tenant: str, title: str, provider: AzureKeyVaultProvider) -> None:
        self.title = title
        self.kek_uri, self.second_region = vault.key_uri(KEY), vault.key_uri(WEST)
        self.providers = (provider,)
        self._vault = vault
        self._log: list[Request] = []
        self._seen = 0
        for name in (KEY, WEST):
            vault.create_key(name, key_ops=["wrapKey", "unwrapKey"], tags={"cmk-tenant": tenant})

    @property
    def state(self) -> str:
        try:
            versions = self._vault.versions(KEY)
        except ServiceError:
            return "deleted"
        return "enabled" if any(one.enabled for one in versions) else "disabled"

    @property
    def actions(self) -> Sequence[str]:
        choices = {"enabled": ("disable", "rotate", "delete"), "disabled": ("enable", "delete")}
        return choices.get(self.state, ("recover",))

    def versions(self) -> list[str]:
        return [] if self.state == "deleted" else [one.version for one in self._vault.versions(KEY)]

    def change(self, action: str) -> None:
        if action not in self.actions:
            return
        for name in (KEY, WEST):
            getattr(self._vault, f"{action}_key")(name)
        self.log()
        self._log.append(Request(time.time(), action, "the customer", "ok"))

    def log(self) -> list[Request]:
        """Return the newest requests; the emulator keeps their order, and this page when it saw them."""
        new = list(self._vault.requests)[self._seen :]
        self._seen += len(new)
        for one in new:
            answer = "ok" if one.status == 200 else f"{one.status} {one.inner or ''}".strip()
            self._log.append(
                Request(time.time(), one.operation, one.principal or "nobody: asked for a token", answer)
            )
        return self._log[: -SHOWN - 1 : -1]


@contextmanager
def emulated(titles: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Run the emulator with a vault for each of these names."""
    from sqlalchemy_cmk.testing import KeyVaultEmulator

    with KeyVaultEmulator() as emulator:
        vaults = {name: emulator.vault(name, rbac=True) for name in titles}
        provider = AzureKeyVaultProvider(
            emulator.credential(), trusted_hosts=emulator.trusted_hosts, **emulator.client_options
        )
        yield {name: EmulatedKeyVault(vault, name, titles[name], provider) for name, vault in vaults.items()}
