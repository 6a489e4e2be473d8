"""The commands of ``az`` with which a customer makes a key, and its owner changes it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.keys import VaultKey
from sqlalchemy_cmk.providers.onboarding import OnboardingRequest

APPLICATION = "APPLICATION_ID"
"""Stands for the application's client id, where that is not known."""

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security
ROLE, ROLE_ID = "Key Vault Crypto Service Encryption User", "e147588a-f6f5-4113-8e2d-b22465e65bf6"
OWNERS_ROLE = "Key Vault Crypto Officer"
# https://learn.microsoft.com/azure/key-vault/managed-hsm/built-in-roles
HSM_ROLE, HSM_ROLE_ID = "Managed HSM Crypto Service Encryption User", "33413926-3206-4cdd-b39a-83574fe37a17"

OPERATIONS = ("wrapKey", "unwrapKey")
_HSM_HOSTS = "managedhsm."


NOBODY = OnboardingRequest("", None)


class Commands:
    """The commands of ``az`` about one key: a vault's differ from a Managed HSM's.

    RSA of 2048 bits costs a fifth of what longer keys cost, and a vault makes four times as many operations
    with it. Premium vaults have it in hardware; a Managed HSM is quickest with AES of 256 bits.

    Args:
        identifier: the key.
        request: for whom it is, and who will use it.
        found: what is known of the key; ``None`` where it is not known, or does not exist yet.

    Attributes:
        vault: the vault's or HSM's name.
        name: the key's name.
        managed_hsm: whether it is in a Managed HSM.
        request: for whom it is.
    """

    def __init__(
        self,
        identifier: KeyIdentifier,
        request: OnboardingRequest = NOBODY,
        found: VaultKey | None = None,
    ) -> None:
        self._identifier, self.request = identifier, request
        self.vault, _, suffix = identifier.host.partition(".")
        self.name = identifier.name
        # Only a Managed HSM lets oct-HSM keys serve where its name does not say what it is.
        self.managed_hsm = suffix.startswith(_HSM_HOSTS) or (found is not None and found.kty == "oct-HSM")

    def knowing(self, found: VaultKey) -> Commands:
        """Return the commands about a key that was found."""
        return Commands(self._identifier, self.request, found)

    @property
    def kty(self) -> str:
        """The key's type."""
        return "oct-HSM" if self.managed_hsm else "RSA-HSM"

    @property
    def bits(self) -> int:
        """Its size."""
        return 256 if self.managed_hsm else 2048

    @property
    def application(self) -> str:
        """The application's client id."""
        return self.request.application or APPLICATION

    @property
    def tags(self) -> dict[str, str]:
        """The key's tags."""
        return {} if self.request.tag is None else {self.request.tag: self.request.tag_value}

    @property
    def role(self) -> str:
        """The role that the application needs, and no other."""
        return HSM_ROLE if self.managed_hsm else ROLE

    def make_vault(self) -> str:
        """Return the command that makes a vault; an HSM is made with its administrators and certificates."""
        return az(
            *("keyvault", "create", "--name", self.vault, "--resource-group", "RESOURCE_GROUP"),
            *("--sku", "premium", "--enable-rbac-authorization", "true"),
            *("--enable-purge-protection", "true", "--retention-days", "90"),
        )

    def let_owner_make_keys(self) -> str:
        """Return the command by which who has made the vault may make keys in it."""
        who = '"$(az ad signed-in-user show --query id --output tsv)"'
        whom = f'--assignee-object-id {who} --assignee-principal-type User --scope "{self.resource_id()}"'
        return f"{az('role', 'assignment', 'create', '--role', OWNERS_ROLE)} {whom}"

    def protect(self) -> str:
        """Return the command that turns purge protection on, in a vault that exists."""
        turn_on = ("--enable-purge-protection", "true")
        if self.managed_hsm:
            return az("keyvault", "update-hsm", "--hsm-name", self.vault, *turn_on)
        return az("keyvault", "update", "--name", self.vault, *turn_on)

    def make_key(self) -> str:
        """Return the command that makes the key."""
        tags = [f"{name}={value}" for name, value in self.tags.items()]
        return az(
            *("keyvault", "key", "create", *self._place, "--name", self.name),
            *("--kty", self.kty, "--size", str(self.bits), "--ops", *OPERATIONS),
            *(("--tags", *tags) if tags else ()),
        )

    def change_key(self, *changes: str) -> str:
        """Return the command that changes the key's attributes."""
        return az("keyvault", "key", "set-attributes", *self._place, "--name", self.name, *changes)

    def tag_key(self) -> str:
        """Return the command that tags the key."""
        return self.change_key("--tags", *(f"{name}={value}" for name, value in self.tags.items()))

    def restrict_key(self) -> str:
        """Return the command that restricts the key's operations."""
        return self.change_key("--ops", *OPERATIONS)

    def begin_now(self) -> str:
        """Return the command that makes the key valid from now on."""
        return self.change_key("--not-before", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def recover_key(self) -> str:
        """Return the command that recovers the deleted key."""
        return az("keyvault", "key", "recover", *self._place, "--name", self.name)

    def let_rotate(self) -> str:
        """Return the command that has the key rotated by a policy, which is in a file."""
        return az(
            *("keyvault", "key", "rotation-policy", "update", *self._place, "--name", self.name),
            *("--value", "policy.json"),
        )

    def rotate_key(self) -> str:
        """Return the command that makes a new version of the key."""
        return az("keyvault", "key", "rotate", *self._place, "--name", self.name)

    def let_in(self) -> str:
        """Return the command that lets the application into the customer's directory."""
        return az("ad", "sp", "create", "--id", self.application)

    def assign_role(self) -> str:
        """Return the command that gives the application its role, on this key alone."""
        who = f'"$({az("ad", "sp", "show", "--id", self.application, "--query", "id", "--output", "tsv")})"'
        whom = f"--assignee-object-id {who} --assignee-principal-type ServicePrincipal"
        if self.managed_hsm:
            begin = az("keyvault", "role", "assignment", "create", *self._place, "--role", self.role)
            return f"{begin} {whom} --scope /keys/{self.name}"
        scope = f'"{self.resource_id()}/keys/{self.name}"'
        return f"{az('role', 'assignment', 'create', '--role', self.role)} {whom} --scope {scope}"

    def show_roles(self) -> str:
        """Return the command that shows every role of the application."""
        if self.managed_hsm:
            return az("keyvault", "role", "assignment", "list", *self._place, "--assignee", self.application)
        return az("role", "assignment", "list", "--all", "--assignee", self.application, "--output", "table")

    def let_address_in(self) -> str:
        """Return the command that lets an address through the vault's firewall."""
        place = ("--hsm-name", self.vault) if self.managed_hsm else ("--name", self.vault)
        return az("keyvault", "network-rule", "add", *place, "--ip-address", "APPLICATION_ADDRESS")

    def log(self) -> str:
        """Return the command that sends the vault's log to a workspace of Log Analytics."""
        begin = az("monitor", "diagnostic-settings", "create", "--name", "cmk-audit")
        end = az("--logs", '[{"category": "AuditEvent", "enabled": true}]', program="")
        return (
            f'{begin} --resource "{self.resource_id()}" --workspace WORKSPACE_ID '
            f"--export-to-resource-specific true {end}"
        )

    def resource_id(self) -> str:
        """Return the shell's words for the vault's resource id."""
        place = ("--hsm-name", self.vault) if self.managed_hsm else ("--name", self.vault)
        return f"$({az('keyvault', 'show', *place, '--query', 'id', '--output', 'tsv')})"

    @property
    def _place(self) -> tuple[str, str]:
        return ("--hsm-name" if self.managed_hsm else "--vault-name"), self.vault


def az(*words: str, program: str = "az ") -> str:
    """Return a command of az, quoted for a POSIX shell."""
    return program + shlex.join(words)
