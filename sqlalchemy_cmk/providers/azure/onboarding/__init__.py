"""What the owner of a key in a vault has to do, as az, Bicep or Terraform, and whether it was done."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy_cmk.providers.azure.commands import Commands
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.onboarding.bicep import as_bicep
from sqlalchemy_cmk.providers.azure.onboarding.tasks import as_script, as_text
from sqlalchemy_cmk.providers.azure.onboarding.terraform import as_terraform
from sqlalchemy_cmk.providers.azure.onboarding.verification import Verification
from sqlalchemy_cmk.providers.azure.vault import Vault
from sqlalchemy_cmk.providers.onboarding import (
    KekOnboarding,
    OnboardingFormat,
    OnboardingRequest,
    OnboardingStep,
)

_WRITERS: dict[OnboardingFormat, Callable[[Commands], str]] = {
    OnboardingFormat.TEXT: as_text,
    OnboardingFormat.AZ: as_script,
    OnboardingFormat.BICEP: as_bicep,
    OnboardingFormat.TERRAFORM: as_terraform,
}


class VaultOnboarding(KekOnboarding):
    """A key in a vault.

    Args:
        key: the key.
        request: for whom.
        vault: returns its vault; it is called only for the check.
    """

    formats = tuple(_WRITERS)

    def __init__(self, key: KeyIdentifier, request: OnboardingRequest, vault: Callable[[], Vault]) -> None:
        self._key = key
        self._commands = Commands(key, request)
        self._vault = vault

    def instructions(self, format: OnboardingFormat) -> str:
        """Return what the owner has to do."""
        return f"{_WRITERS[format](self._commands)}\n"

    def steps(self) -> list[OnboardingStep]:
        """Return whether it was done; see :class:`Verification`."""
        return Verification(self._vault(), self._key, self._commands).steps()
