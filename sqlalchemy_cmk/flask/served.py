"""What one application has of the extension: its keyring, its engines, whose request it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine, MetaData

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring

if TYPE_CHECKING:
    # It needs greenlet, which is not installed everywhere.
    from sqlalchemy.ext.asyncio import AsyncEngine

    AnyEngine = Engine | AsyncEngine

EXTENSION = "sqlalchemy_cmk"
Counts = dict[str, dict[str, int]]


@dataclass(eq=False, slots=True)
class Served:
    """One application's part of the extension, kept in ``app.extensions["sqlalchemy_cmk"]``.

    Attributes:
        keyring: serves the application.
        engines: the application's engines by their bind keys; ``None`` is the default.
        replicas: of these the bind keys of those that read a copy, each with that of its primary.
        details_for: returns whether the request may see the names of tenants; ``None`` if none may.
        counted: when the health endpoint has counted tenants the last time, and what it found.
    """

    keyring: Keyring
    engines: Mapping[str | None, AnyEngine]
    replicas: Mapping[str | None, str | None]
    details_for: Callable[[], object] | None
    counted: tuple[float, Counts] | None = None

    @property
    def default(self) -> AnyEngine | None:
        """The engine of the default bind, or else the first; ``None`` if the keyring alone has engines."""
        return self.engines.get(None) or next(iter(self.engines.values()), None)

    def keyring_for(self, key: str | None) -> Keyring:
        """Return the keyring for one database of the application.

        It does not depend on which application is current, as its threads need it.

        Args:
            key: its bind key; ``None`` for the default.

        Raises:
            ConfigurationError: there is no such key.
        """
        if key is not None and key not in self.engines:
            known = ", ".join(one for one in self.engines if one is not None) or "none"
            raise ConfigurationError(f"there is no bind key {key!r} here: there are {known}")
        engine = self.default if key is None else self.engines[key]
        return self.keyring if engine is None else self.keyring.for_engine(engine)

    def keyrings(self) -> dict[str, Keyring]:
        """Return the keyring for each database of the application, by its bind key or ``default``."""
        keys = [key for key in self.engines if key not in self.replicas]
        return {key or "default": self.keyring_for(key) for key in keys or [None]}


def served_here() -> Served:
    """Return the current application's part of the extension.

    Raises:
        ConfigurationError: no application is current, or it has none.
    """
    served: Served | None = current_app.extensions.get(EXTENSION) if has_app_context() else None
    if served is None:
        raise ConfigurationError(
            "no application with this extension is current: call cmk.init_app(app), and work in a request "
            "or in app.app_context()"
        )
    return served


def engine_here() -> AnyEngine | None:
    """Return the current application's default engine; ``None`` outside of one."""
    served: Served | None = current_app.extensions.get(EXTENSION) if has_app_context() else None
    return None if served is None else served.default


def engines_of(app: Flask) -> dict[str | None, AnyEngine]:
    """Return the engines that Flask-SQLAlchemy has made for an application, by their bind keys."""
    with app.app_context():
        return dict(getattr(_flask_sqlalchemy(app), "engines", {}))


def metadatas_of(app: Flask) -> list[MetaData]:
    """Return the ``MetaData`` of each bind key of Flask-SQLAlchemy; none without it."""
    return list(getattr(_flask_sqlalchemy(app), "metadatas", {}).values())


def _flask_sqlalchemy(app: Flask) -> Any:
    return app.extensions.get("sqlalchemy")
