"""Worlds of two tenants, of which one is locked, and how processes notice."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Engine, event

from sqlalchemy_cmk import KeyLocked
from tests.support import waiting
from tests.support.world import World

until = partial(waiting.until, seconds=20)


def is_shut(world: World) -> bool:
    try:
        world.read("acme")
    except KeyLocked:
        return True
    return False


def with_notes(world: World) -> World:
    """acme and globex, with a KEK and a note each, opened."""
    for tenant in ("acme", "globex"):
        world.keyring.assign(tenant, f"local:{tenant}")
        world.write(tenant, tenant)
    return world


@contextmanager
def looks() -> Iterator[list[str]]:
    """The statements in the block that read the row which counts locks."""
    seen: list[str] = []

    def look(*arguments: Any) -> None:
        if "cmk_locks" in arguments[2]:
            seen.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", look)
