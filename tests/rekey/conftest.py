"""Worlds of notes whose DEKs were rotated: what there is to re-encrypt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keys.conftest import World
from tests.support.databases import Database


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on each database in turn, with 60 notes of each of two tenants, and as many codes."""
    world = World(database.url, tmp_path, revalidate_after=0).create()
    for owner in ("acme", "globex"):
        world.write(owner, *(f"{owner} {n}" for n in range(60)))
        world.write(owner, *(f"{owner} {n}" for n in range(60)), table=world.codes)
    yield world
    world.close()
