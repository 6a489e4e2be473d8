"""Worlds of notes whose DEKs were rotated: what there is to re-encrypt."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, String, Table, event, select

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.rekey import Move
from tests.conftest import empty_database
from tests.support.databases import Database
from tests.support.world import World

TENANTS = ("acme", "globex")
WRITES = re.compile(r"(SET STATEMENT \S+ = \d+ FOR )?UPDATE (?!cmk_)")


@pytest.fixture(autouse=True)
def _drivers(drivers: None) -> None:
    """Have every test run by each set of drivers."""


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on each database in turn, with 60 notes of each of two tenants, and as many codes."""
    world = World(database.url, tmp_path, revalidate_after=0).create()
    for owner in TENANTS:
        world.write(owner, *(f"{owner} {n}" for n in range(60)))
        world.write(owner, *(f"{owner} {n}" for n in range(60)), table=world.codes)
    yield world
    world.close()


@pytest.fixture
def bare(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on each database in turn, to which the test adds tables."""
    world = World(database.url, tmp_path, revalidate_after=0).create()
    yield world
    world.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def server_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world with notes of two tenants, on each database that has a server."""
    for database in empty_database(request):
        world = World(database.url, tmp_path, revalidate_after=0).create()
        for owner in TENANTS:
            world.write(owner, *(f"{owner} {n}" for n in range(60)))
        yield world
        world.close()


def rotate(world: World) -> None:
    for tenant in TENANTS:
        world.keyring.lifecycle.rotate_dek(tenant)


def add_people(world: World, plain: Any = None, **columns: Any) -> Table:
    """A table with a column that is plain and one that is sealed, both empty."""
    table = Table(
        "people",
        world.metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", String(40)),
        Column("plain", plain or String(40)),
        Column("sealed", EncryptedType(String(40))),
        Column("other", EncryptedType(String(40))),
        Column("again", plain or String(40)),
        *(Column(name, type_) for name, type_ in columns.items()),
        info={"cmk_tenant": "owner"},
    )
    world.metadata.create_all(world.engine)
    return table


def fill(world: World, table: Table, rows: list[dict[str, Any]]) -> None:
    with world.engine.begin() as connection:
        connection.execute(table.insert(), rows)


def values(world: World, column: Any) -> list[Any]:
    """A column's values in the order of the table's key."""
    table = column.table
    owner = [table.c[name] for name in ("owner", "clinic") if name in table.c]
    with world.engine.connect() as connection:
        query = select(column, *owner).order_by(*table.primary_key)
        return [row[0] for row in connection.execute(query)]


def sealing(source: str, target: str, type_: Any = None, **options: Any) -> Move:
    """The move that seals a plain column of people into another."""
    type_ = type_ or String(40)
    return Move(source, target, type_, EncryptedType(type_, context=("people", target), **options))


def opening(source: str, target: str, type_: Any = None, **options: Any) -> Move:
    """The move that opens a sealed column of people into another."""
    type_ = type_ or String(40)
    return Move(source, target, EncryptedType(type_, context=("people", source), **options), type_)


@contextmanager
def at_write(number: int, act: Callable[..., None]) -> Iterator[list[Any]]:
    """Have `act` called once, before the engine writes its batch of this number, counted from 0.

    It may take that statement's connection. What is yielded are the parameters of each batch written.
    """
    seen: list[Any] = []

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not WRITES.match(statement) or not connection.engine.hide_parameters:
            return
        seen.append(parameters)
        if len(seen) == number + 1:
            act(connection) if signature(act).parameters else act()

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert len(seen) > number, "the engine has written no such batch"
