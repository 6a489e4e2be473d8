"""Worlds of two tenants, of which one is locked, and how processes notice."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from sqlalchemy_cmk import KeyLocked
from tests.support.world import World


def until(happens: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < ends
        time.sleep(0.02)


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
