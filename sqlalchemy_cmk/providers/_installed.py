"""Providers of installed packages, which announce them by the entry points ``sqlalchemy_cmk.providers``.

A package names its class, or a function that returns a provider, in its ``pyproject.toml``::

    [project.entry-points."sqlalchemy_cmk.providers"]
    transit = "my_transit:TransitProvider"

An application makes it with ``load_provider("transit", url=...)``. Nothing is loaded that it does not name.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.runtime.kinds import takes, text

GROUP = "sqlalchemy_cmk.providers"


def installed_providers() -> dict[str, str]:
    """Return the providers of installed packages: by name, where each is, as ``MODULE:ATTRIBUTE``."""
    return dict(sorted((one.name, one.value) for one in entry_points(group=GROUP)))


@takes(name=text("the name of an installed provider, such as 'azure'"))
def load_provider(name: str, /, **options: Any) -> KeyProvider:
    """Return a new provider of an installed package.

    Args:
        name: the provider's name, one of :func:`installed_providers`.
        options: the provider's own arguments.

    Raises:
        ConfigurationError: no installed package has a provider of this name, or several have, it cannot be
            imported, or it is not a provider.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise ConfigurationError(f"no installed package has a key provider {name!r}{_meant(name)}")
    if len({one.value for one in found}) > 1:
        places = " and ".join(sorted(one.value for one in found))
        raise ConfigurationError(f"several packages have a key provider {name!r}: import {places} by hand")
    provider = _loaded(found[0])(**options)
    if not isinstance(provider, KeyProvider):
        raise ConfigurationError(
            f"{found[0].value} gives no KeyProvider but {type(provider).__name__}: derive its class from "
            "sqlalchemy_cmk.providers.KeyProvider"
        )
    return provider


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the key provider {entry.name!r} cannot be imported: {error}") from None


def _meant(name: str) -> str:
    names = list(installed_providers())
    close = get_close_matches(name, names, 1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": there are {', '.join(names)}" if names else ": install the package that has it"
