"""KEKs in Azure Key Vault and Managed HSM; needs the extra ``[azure]``."""

from sqlalchemy_cmk.providers.azure.provider import AzureKeyVaultProvider

__all__ = ["AzureKeyVaultProvider"]
