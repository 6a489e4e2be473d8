"""KEKs in Azure Key Vault and Managed HSM; needs the extra ``[azure]``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure.provider import AzureKeyVaultProvider

__all__ = ["AzureKeyVaultProvider"]


def __getattr__(name: str) -> object:
    # Key identifiers are read also where the SDK is not installed.
    if name == "AzureKeyVaultProvider":
        from sqlalchemy_cmk.providers.azure.provider import AzureKeyVaultProvider

        return AzureKeyVaultProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
