"""Empty databases for tests, on servers that start when the first test asks for them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.support.servers import MARIADB_URL, POSTGRESQL_URL, start

VARIABLES = {"postgresql": POSTGRESQL_URL, "mariadb": MARIADB_URL}


@dataclass(frozen=True)
class Database:
    """An empty database: the name of its kind and its URLs; `async_url` is None where there is no driver."""

    name: str
    url: str
    async_url: str | None


class Servers:
    """The servers of a test session: those the environment names, or private ones started on demand."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._started = ExitStack()

    def url(self, name: str) -> str:
        """The URL of the administrative database of the server of this name."""
        if name not in self._urls:
            self._urls[name] = os.environ.get(VARIABLES[name]) or self._start(name)
        return self._urls[name]

    def _start(self, name: str) -> str:
        server = start(VARIABLES[name])
        self._started.callback(server.stop)
        return server.url

    def close(self) -> None:
        """Stop the servers that were started here."""
        self._started.close()


def sqlite_file(folder: Path) -> Database:
    """An SQLite database in a file that does not exist yet."""
    path = folder / "database.sqlite"
    return Database("sqlite", f"sqlite:///{path}", f"sqlite+aiosqlite:///{path}")


@contextmanager
def server_database(name: str, server_url: str) -> Iterator[Database]:
    """A new database of a random name on a server, dropped afterwards even if somebody is still connected."""
    schema = f"cmk_test_{secrets.token_hex(8)}"
    with administration(server_url).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {schema}{quickly(connection)}"))
    try:
        yield described(name, make_url(server_url).set(database=schema))
    finally:
        with administration(server_url).connect() as connection:
            DROPPERS[name](connection, schema)


def described(name: str, url: URL) -> Database:
    """The database at this URL with the URL of the asynchronous driver where there is one."""
    asynchronous = url.set(drivername="postgresql+asyncpg") if name == "postgresql" else None
    rendered = (part and part.render_as_string(hide_password=False) for part in (url, asynchronous))
    return Database(name, *rendered)


@cache
def administration(server_url: str) -> Engine:
    """An engine with one connection to a server, kept, that commits each statement by itself."""
    # A child that a test forks may end the connection as it exits.
    return create_engine(server_url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)


def quickly(connection: Connection) -> str:
    """How PostgreSQL copies its template for half of the work, without the write-ahead log."""
    version = connection.dialect.server_version_info or ()
    return " STRATEGY FILE_COPY" if connection.dialect.name == "postgresql" and version >= (15,) else ""


def drop_postgresql(connection: Connection, schema: str) -> None:
    """Drop a PostgreSQL database and end the connections to it."""
    connection.execute(text(f"DROP DATABASE IF EXISTS {schema} WITH (FORCE)"))


def drop_mariadb(connection: Connection, schema: str) -> None:
    """End the connections to a MariaDB database, whose locks would hold up the drop, and drop it."""
    query = text("SELECT id FROM information_schema.processlist WHERE db = :schema")
    for number in connection.scalars(query, {"schema": schema}).all():
        with suppress(DBAPIError):  # it may have ended in the meantime
            connection.execute(text(f"KILL {number:d}"))
    connection.execute(text(f"DROP DATABASE IF EXISTS {schema}"))


DROPPERS = {"postgresql": drop_postgresql, "mariadb": drop_mariadb}
