"""The error for a tenant without keys, which is most often a mistyped name."""

from __future__ import annotations

from difflib import get_close_matches

from sqlalchemy_cmk.errors import CmkError, ConfigurationError
from sqlalchemy_cmk.keys.storage.store import KeyStore

NEAR = 1000


def unknown_tenant(store: KeyStore, name: str, more: str = "") -> ConfigurationError:
    """Return the error for a tenant that has no keys; it names one whose name is nearly the same.

    Args:
        store: has the tenants that there are.
        name: the name that was given.
        more: what else is not there, for the message.
    """
    return ConfigurationError(f"no tenant {name!r} has keys here{more}{nearly(store, name)}")


def nearly(store: KeyStore, name: str) -> str:
    """Return a question about the tenant that was meant; empty where none has nearly this name."""
    try:
        names = store.names_from(name[:1], NEAR)
    except CmkError:
        return ""
    close = get_close_matches(name, names, 1)
    return f": did you mean {close[0]!r}?" if close else ""
