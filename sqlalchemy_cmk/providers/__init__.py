"""Key providers: what talks to the place where KEKs live."""

from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level, Wrapped
from sqlalchemy_cmk.providers.local import LocalKeyProvider

__all__ = ["Finding", "KeyProvider", "Level", "LocalKeyProvider", "Wrapped"]
