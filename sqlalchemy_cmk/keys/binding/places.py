"""Whether two connections lead to the same database, and how a database is named in messages."""

from __future__ import annotations

from sqlalchemy import URL, Connection

from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys


def is_same_database(connection: Connection, keys: EngineKeys) -> bool:
    """Return whether a connection leads to the database that holds these keys.

    Both are asked: a URL does not tell. The same database may be reached by many, and a test suite's
    ``creator`` may lead one URL to several.
    """
    here = database_of(connection.dialect)
    if keys.connections.in_memory or type(here) is not type(keys.connections.database):
        return False
    place = here.place(connection)
    return place is not None and place == keys.database.run(here.place)


def shown(url: URL) -> str:
    """Return a URL without user, password and options, any of which may be secret."""
    if not url.host:
        return f"{url.drivername}:///{url.database or ':memory:'}"
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()
