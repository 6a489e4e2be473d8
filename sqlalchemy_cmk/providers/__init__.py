"""Key providers: each talks to one kind of place where KEKs live."""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.providers.local import LocalKeyProvider
from sqlalchemy_cmk.runtime.lazy import lazy_names
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider
    from sqlalchemy_cmk.providers.pkcs11 import Pkcs11KeyProvider

__all__ = [
    "AzureKeyVaultProvider",
    "KeyProvider",
    "LocalKeyProvider",
    "Pkcs11KeyProvider",
    "Secret",
    "Wrapped",
]

# Each of these needs an extra, which is imported only where the provider is used.
_HOMES = {"AzureKeyVaultProvider": "azure", "Pkcs11KeyProvider": "pkcs11"}
__getattr__ = lazy_names(__name__, _HOMES, extras=_HOMES)
