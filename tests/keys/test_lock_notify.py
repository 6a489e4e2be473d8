"""A process that listens for locks shuts a tenant at once, on PostgreSQL; elsewhere the look is left."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk.keys.opening import lock_listener
from tests.conftest import empty_database
from tests.support.databases import Database
from tests.support.drivers import by_drivers
from tests.support.world import World
from tests.support.worlds import is_shut, looks, until, with_notes

LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"


def listening(url: str, folder: Path, drivers: str = "sync") -> World:
    """Another process that has acme's and globex's notes open, and does not look for an hour."""
    with by_drivers(drivers):
        other = World(url, folder)
        other.restart(clock=time.monotonic, lock_check=3600, revalidate_after=3600, lock_notify=True)
        assert other.read() == ["acme", "globex"]
        until(lambda: other.keyring.keys.locks.is_listening)
    return other


def listeners(world: World) -> int:
    return int(world.raw(f"SELECT count(*) {LISTENERS}")[0][0])


@pytest.fixture
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    for database in empty_database(request, "postgresql"):
        world = with_notes(World(database.url, tmp_path).create())
        yield world
        world.close()


@pytest.mark.parametrize("by", ["sync", "asyncpg", "async"])
def test_a_process_that_listens_shuts_and_opens_a_tenant_at_once(clinic: World, by: str) -> None:
    other = listening(clinic.url, clinic.folder, by)
    clinic.keyring.lock("acme")
    until(lambda: is_shut(other))
    assert other.open_deks("globex") == 1 and other.read("globex") == ["globex"]
    clinic.keyring.unlock("acme")
    until(lambda: not is_shut(other))
    clinic.keyring.lifecycle.shred("acme", confirm="acme")
    until(lambda: other.open_deks("acme") == 0)
    other.close()
    until(lambda: listeners(clinic) == 0)


def test_no_connection_is_held_while_no_key_is_open(clinic: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_listener, "WAIT", 0.05)
    other = listening(clinic.url, clinic.folder)
    assert listeners(clinic) == 1
    other.keyring.forget()
    until(lambda: listeners(clinic) == 0)
    assert other.read("acme") == ["acme"]
    until(lambda: listeners(clinic) == 1)
    other.close()


def test_many_announcements_are_few_looks(clinic: World) -> None:
    with looks() as seen:
        began = time.monotonic()
        other = listening(clinic.url, clinic.folder)
        for _ in range(200):
            clinic.execute("NOTIFY cmk_locks")
        clinic.keyring.lock("acme")
        until(lambda: is_shut(other))
        most = 2 + (time.monotonic() - began) / lock_listener.GATHER
        other.close()
    assert sum("SELECT" in one for one in seen) <= most


@pytest.mark.parametrize("by", ["sync", "asyncpg", "async"])
def test_a_lost_connection_is_made_again(clinic: World, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_listener, "PAUSE", 0.0)
    other = listening(clinic.url, clinic.folder, by)
    clinic.execute(f"SELECT pg_terminate_backend(pid) {LISTENERS}")
    locks = other.keyring.keys.locks
    until(lambda: not locks.is_listening)
    clinic.keyring.lock("acme")  # nobody hears it
    locks.hurry()  # as the next look would, by which it listens again
    until(lambda: locks.is_listening)
    until(lambda: is_shut(other))
    other.close()


@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)
def test_where_nothing_is_announced_the_look_is_left(database: Database, tmp_path: Path) -> None:
    world = with_notes(World(database.url, tmp_path).create())
    world.restart(clock=time.monotonic, lock_check=0.05, lock_notify=True)
    world.read()
    other = World(database.url, tmp_path)
    other.keyring.lock("acme")
    until(lambda: is_shut(world))
    assert not world.keyring.keys.locks.is_listening
    other.close()
    world.close()
