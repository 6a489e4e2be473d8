"""Runs seeds, each on an empty database, and prints what led to a broken rule."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.simulation.sqlite import SQLiteFile
from tests.simulation.world import World, make_tables, without_garbage_collection
from tests.support.databases import Servers
from tests.support.memory import folder_in_memory

Trace = list[tuple[float, str, str]]


class Databases(Protocol):
    """Makes databases."""

    def new(self, seed: int) -> AbstractContextManager[Any]:
        """An empty database for a seed, with the tables in it."""


class SQLiteFiles:
    """Empty SQLite databases, with the tables in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.sqlite"
        made = SQLiteFile(self._template, wal=False)
        make_tables(made)
        made.close()

    @contextmanager
    def new(self, seed: int) -> Iterator[SQLiteFile]:
        path = self._folder / "world.sqlite"
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self._template, path)
        database = SQLiteFile(path, wal=Random(seed).random() < 0.5)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def sqlite_files() -> Iterator[SQLiteFiles]:
    """A folder in memory for the databases."""
    with tempfile.TemporaryDirectory(prefix="cmk-simulation-", dir=folder_in_memory()) as folder:
        yield SQLiteFiles(Path(folder))


@contextmanager
def databases_of(name: str) -> Iterator[Databases]:
    """Databases of a kind, by its name; on the server that the environment names, or on a new one."""
    if name == "sqlite":
        with sqlite_files() as files:
            yield files
        return
    from tests.simulation.postgresql import PostgreSQLDatabases

    servers = Servers()
    try:
        databases = PostgreSQLDatabases(servers.url(name))
        try:
            yield databases
        finally:
            databases.close()
    finally:
        servers.close()


def run_seed(seed: int, databases: Databases) -> Trace:
    """Live through one seed and return its trace.

    Raises:
        Failed: a rule was broken; it holds the trace.
    """
    with without_garbage_collection(), in_silence(), databases.new(seed) as database:
        world = World(seed, database)
        try:
            return world.run()
        except BaseException as error:
            raise Failed(seed, world.scheduler.trace) from error


@contextmanager
def in_silence() -> Iterator[None]:
    """Keep what the library and the pools log about all that fails to themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class Failed(AssertionError):
    """A seed broke a rule."""

    def __init__(self, seed: int, trace: Trace) -> None:
        super().__init__(f"seed {seed}")
        self.seed = seed
        self.trace = trace

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.__cause__!r}\n{shown(self.trace)}"


def shown(trace: Trace) -> str:
    """A trace as text."""
    return "\n".join(f"{at:12.3f}  {who:32} {what}" for at, who, what in trace)
