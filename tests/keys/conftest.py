"""A table with sealed columns, a keyring over it, and a provider that counts and fails on request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, event, select, text

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from tests.support.databases import Database


class CountingProvider(LocalKeyProvider):
    """The local provider, with its calls noted and a fault on request."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: list[str] = []
        self.fault: Callable[[str], None] = lambda kek_uri: None

    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
        self.calls.append("wrap")
        self.fault(kek_uri)
        return super().wrap(kek_uri, dek)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        self.calls.append("unwrap")
        self.fault(wrapped.kek_uri)
        return super().unwrap(wrapped)


class World:
    """Notes of many tenants on a database, with a clock that the test moves.

    Another process, or another keyring of this one, takes part by `World(url, folder)` over the same two.
    """

    def __init__(self, url: str, folder: Path, engine: Engine | None = None, **options: Any) -> None:
        self.url, self.folder = url, folder
        self.engine = engine or create_engine(url)
        self.metadata = MetaData()
        self.notes = self._table("notes", EncryptedType(String(40)))
        self.codes = self._table("codes", EncryptedType(String(40), deterministic=True))
        self.now = 1000.0
        self.provider = CountingProvider(folder / "keys.json")
        self.keyring = self.new_keyring(**options)
        self.keyring.protect(self.metadata)

    def new_keyring(self, **options: Any) -> Keyring:
        """A keyring on the same engine, provider and clock, that protects nothing yet."""
        standard = {"platform_key": "local:pmk", "providers": [self.provider], "revalidation_jitter": 0}
        return Keyring(self.engine, **{**standard, "clock": lambda: self.now, **options})

    def restart(self, **options: Any) -> None:
        """Go on as a new process would: with nothing open, nothing connected and nothing counted."""
        self.keyring.close()
        self.keyring = self.new_keyring(**options)
        self.keyring.protect(self.metadata)
        self.provider.calls.clear()

    def create(self) -> "World":
        self.metadata.create_all(self.engine)
        return self

    def write(self, owner: str, *texts: str, table: Table | None = None) -> None:
        """Write notes of a tenant, or codes, whose column is deterministic."""
        with self.engine.begin() as connection:
            statement = (self.notes if table is None else table).insert()
            connection.execute(statement, [{"owner": owner, "text": one} for one in texts])

    def read(self, *owners: str, table: Table | None = None) -> list[str]:
        """The texts in order, of these tenants or of all."""
        columns = (self.notes if table is None else table).c
        query = select(columns.owner, columns.text).order_by(columns.id)
        if owners:
            query = query.where(columns.owner.in_(owners))
        with self.engine.connect() as connection:
            return [row.text for row in connection.execute(query)]

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def execute(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def active(self, tenant: str, purpose: Purpose = Purpose.SEAL) -> bytes:
        """The id of the DEK under which a tenant's new values are sealed."""
        return self.keyring.active(tenant, purpose).id

    def open_deks(self, tenant: str) -> int:
        return next((line.open for line in self.keyring.status() if line.tenant == tenant), 0)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()

    def _table(self, name: str, sealed: EncryptedType) -> Table:
        columns = (
            Column("id", Integer, primary_key=True),
            Column("owner", String(40)),
            Column("text", sealed),
        )
        return Table(name, self.metadata, *columns, info={"cmk_tenant": "owner"})


def own_begin(engine: Engine) -> None:
    """Have an application's SQLite connections begin as SQLAlchemy's documentation advises for savepoints."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


@contextmanager
def statements(act: Callable[[str], None] = lambda statement: None) -> Iterator[list[str]]:
    """The statements that go to the key tables in the block, on whichever engine.

    `act` is called with each of them before it goes.
    """
    seen: list[str] = []

    def look(*arguments: Any) -> None:
        if "cmk_" in arguments[2]:
            seen.append(arguments[2])
            act(arguments[2])

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", look)


@contextmanager
def before_statement(beginning: str, act: Callable[[], None]) -> Iterator[None]:
    """Have `act` called before each statement that begins so, on whichever engine."""

    def look(*arguments: Any) -> None:
        if arguments[2].startswith(beginning):
            act()

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", look)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on each database in turn."""
    world = World(database.url, tmp_path).create()
    yield world
    world.close()


@pytest.fixture
def lite(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, for what does not differ between databases."""
    world = World(sqlite_database.url, tmp_path).create()
    yield world
    world.close()


@pytest.fixture
def make_lite(sqlite_database: Database, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds on SQLite whose keyring or engine is set up by the test."""
    made: list[World] = []

    def make(**options: Any) -> World:
        made.append(World(options.pop("url", sqlite_database.url), tmp_path, **options).create())
        return made[-1]

    yield make
    for world in made:
        world.close()
