"""The error for a tenant without keys, which is most often a mistyped name."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from sqlalchemy_cmk.errors import CmkError, ConfigurationError
from sqlalchemy_cmk.keys.storage.store import KeyStore

NEAR = 1000


def refuse_unknown(store: KeyStore, names: Collection[str], *, otherwise: str = "") -> None:
    """Refuse the names of tenants that have no keys.

    Args:
        store: has the tenants that there are.
        names: the names that were given.
        otherwise: what to do if the name is right, for the message.

    Raises:
        ConfigurationError: a tenant has no keys, and never had.
    """
    known = store.known(names)
    for name in names:
        if name not in known:
            raise unknown_tenant(store, name, otherwise=otherwise)


def unknown_tenant(store: KeyStore, name: str, more: str = "", *, otherwise: str = "") -> ConfigurationError:
    """Return the error for a tenant that has no keys; it names one whose name is nearly the same.

    Args:
        store: has the tenants that there are.
        name: the name that was given.
        more: what else is not there, for the message.
        otherwise: what to do if the name is right.
    """
    near = nearly(store, name)
    advice = f"{near or '.'} {otherwise}" if otherwise else near
    return ConfigurationError(f"no tenant {name!r} has keys here{more}{advice}")


def nearly(store: KeyStore, name: str) -> str:
    """Return a question about the tenant that was meant; empty if none has nearly this name."""
    try:
        names = store.names_from(name[:1], NEAR)
    except CmkError:
        return ""
    close = get_close_matches(name, names, 1)
    return f": did you mean {close[0]!r}?" if close else ""
