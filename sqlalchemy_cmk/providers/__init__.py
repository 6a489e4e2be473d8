"""Key providers: what talks to the place where KEKs live."""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level, Wrapped
from sqlalchemy_cmk.providers.local import LocalKeyProvider

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider

__all__ = ["AzureKeyVaultProvider", "Finding", "KeyProvider", "Level", "LocalKeyProvider", "Wrapped"]


def __getattr__(name: str) -> object:
    # A project without Azure pays nothing for it.
    if name == "AzureKeyVaultProvider":
        from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider

        return AzureKeyVaultProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
