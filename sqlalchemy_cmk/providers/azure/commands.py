"""The commands of ``az`` with which the owner of a key changes it: a vault's differ from a Managed HSM's."""

from __future__ import annotations

from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.keys import VaultKey

_HSM_HOSTS = "managedhsm."


class Commands:
    """Writes commands about one key.

    Args:
        identifier: the key.
        key: what is known of it; ``None`` where the vault refuses.
    """

    def __init__(self, identifier: KeyIdentifier, key: VaultKey | None = None) -> None:
        suffix = identifier.host.partition(".")[2]
        # Only a Managed HSM lets oct-HSM keys serve where its name does not say what it is.
        self._is_hsm = suffix.startswith(_HSM_HOSTS) or (key is not None and key.kty == "oct-HSM")
        self._place = identifier.host.partition(".")[0]
        self._name = identifier.name

    @property
    def update(self) -> str:
        """What changes the vault or the Managed HSM."""
        if self._is_hsm:
            return f"az keyvault update-hsm --hsm-name {self._place}"
        return f"az keyvault update --name {self._place}"

    @property
    def grant(self) -> str:
        """What gives the application the role that it needs, for this key alone."""
        if self._is_hsm:
            return (
                f"az keyvault role assignment create --hsm-name {self._place} --scope /keys/{self._name} "
                "--role 'Managed HSM Crypto Service Encryption User' --assignee CLIENT_ID"
            )
        return (
            "az role assignment create --role 'Key Vault Crypto Service Encryption User' "
            f"--assignee CLIENT_ID --scope VAULT_RESOURCE_ID/keys/{self._name}"
        )

    def key(self, operation: str) -> str:
        """Return what does something with the key."""
        place = "--hsm-name" if self._is_hsm else "--vault-name"
        return f"az keyvault key {operation} {place} {self._place} --name {self._name}"
