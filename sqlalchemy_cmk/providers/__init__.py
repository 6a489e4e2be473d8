"""Key providers: what talks to the place where KEKs live."""

from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped
from sqlalchemy_cmk.providers.local import LocalKeyProvider

__all__ = ["KeyProvider", "LocalKeyProvider", "Wrapped"]
