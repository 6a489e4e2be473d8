"""Worlds of two tenants, of which one is locked."""

import time
from collections.abc import Callable

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
