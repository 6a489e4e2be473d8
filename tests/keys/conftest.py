"""Worlds of notes, and what a test does at the statements that go to the key tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.support.databases import Database
from tests.support.world import World


@pytest.fixture
def no_lull(monkeypatch: pytest.MonkeyPatch) -> None:
    """What many calls have given is committed at the end, however busy the machine is."""
    monkeypatch.setattr("sqlalchemy_cmk.keys.opening.side_by_side.LULL", 3600)


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

    Without those by which each process looks at the search indexes, and at locks, every few seconds.

    `act` is called with each of them before it goes.
    """
    seen: list[str] = []

    def look(*arguments: Any) -> None:
        looks = "cmk_indexes" in arguments[2] or "cmk_locks" in arguments[2]
        if "cmk_" in arguments[2] and not looks:
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
