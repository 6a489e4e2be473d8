"""Key providers: what talks to the place where KEKs live."""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level, Wrapped
from sqlalchemy_cmk.providers.local import LocalKeyProvider

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider
    from sqlalchemy_cmk.providers.pkcs11 import Pkcs11KeyProvider

__all__ = [
    "AzureKeyVaultProvider",
    "Finding",
    "KeyProvider",
    "Level",
    "LocalKeyProvider",
    "Pkcs11KeyProvider",
    "Wrapped",
]


def __getattr__(name: str) -> object:
    # A project without Azure or an HSM pays nothing for them.
    if name == "AzureKeyVaultProvider":
        from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider

        return AzureKeyVaultProvider
    if name == "Pkcs11KeyProvider":
        from sqlalchemy_cmk.providers.pkcs11 import Pkcs11KeyProvider

        return Pkcs11KeyProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
