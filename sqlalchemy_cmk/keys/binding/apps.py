"""The engines of a Flask application, and which application a call is made for.

Flask is not imported: where it is not, there is no application.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, MetaData

from sqlalchemy_cmk.errors import ConfigurationError

EXTENSION = "sqlalchemy_cmk"


def engines_of(app: Any) -> Mapping[str | None, Engine]:
    """Return the engines that Flask-SQLAlchemy has made for an application, by their bind keys.

    Raises:
        ConfigurationError: it has made none.
    """
    with app.app_context():
        engines: Mapping[str | None, Engine] = getattr(_database(app), "engines", {})
    if not engines:
        raise ConfigurationError(
            "init_app finds no engine: call db.init_app(app) of Flask-SQLAlchemy first, or give it one, "
            "keyring.init_app(app, engine)"
        )
    return engines


def metadatas_of(app: Any) -> list[MetaData]:
    """Return the ``MetaData`` of each bind key of Flask-SQLAlchemy; none without it."""
    return list(getattr(_database(app), "metadatas", {}).values())


def current_app() -> Any:
    """Return the Flask application that this code runs for; ``None`` outside of one."""
    flask = sys.modules.get("flask")
    return flask.current_app if flask is not None and flask.has_app_context() else None


def _database(app: Any) -> Any:
    return app.extensions.get("sqlalchemy")
