"""KEKs in Azure Key Vault and Managed HSM; needs the extra ``[azure]``."""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure.provider import AzureKeyVaultProvider

__all__ = ["AzureKeyVaultProvider"]

# Key identifiers are parsed also where the SDK is not installed.
__getattr__ = lazy_names(__name__, {"AzureKeyVaultProvider": "provider"})
