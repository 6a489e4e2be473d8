"""Making DEKs: one for a tenant and purpose, whichever process comes first, whatever breaks in the middle."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import StaticPool

from sqlalchemy_cmk import KeyUnavailable
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.records import TenantKeys
from tests.keys.conftest import before_statement, own_begin
from tests.keys.processes import KILLED, apart, die, exit_code, together
from tests.support.databases import Database
from tests.support.world import World

TENANTS = ["acme", "globex", "initech"]


def make_and_seal(url: str, folder: Path) -> dict[tuple[str, str], bytes]:
    """In another process: have DEKs of three tenants made in any order, and seal a value under each."""
    world = World(url, folder)
    found = {}
    for tenant in random.sample(TENANTS, 3):
        for purpose in random.sample([Purpose.RANDOMIZED, Purpose.DETERMINISTIC], 2):
            found[tenant, purpose.value] = world.active(tenant, purpose)
        world.write(tenant, f"of {tenant}")
        world.write(tenant, tenant, table=world.codes)
    world.close()
    return found


def key_rows(world: World) -> tuple[int, int, int]:
    """How many DEKs there are, how many of them active, and how many wrappings."""
    return (
        world.raw("SELECT count(*) FROM cmk_deks")[0][0],
        world.raw("SELECT count(*) FROM cmk_deks WHERE state = 'active'")[0][0],
        world.raw("SELECT count(*) FROM cmk_wrappings")[0][0],
    )


def test_twenty_processes_at_once_make_one_dek_for_each_tenant_and_purpose(world: World) -> None:
    found = together(20, make_and_seal, world.url, world.folder)
    assert len(found[0]) == 6 and all(one == found[0] for one in found)
    assert len(set(found[0].values())) == 6
    assert key_rows(world) == (6, 6, 6)
    assert sorted(world.read()) == sorted([f"of {tenant}" for tenant in TENANTS] * 20)


def test_a_tenant_that_another_process_adds_meanwhile_is_no_removed_one(world: World) -> None:
    made = world.active("acme")
    keys = world.keyring.store.new_tenants(["acme"], "local:pmk")["acme"]
    assert isinstance(keys, TenantKeys)
    active = keys.active(Purpose.RANDOMIZED)
    assert active is not None and active.id == made


def test_a_hundred_threads_at_once_make_one_dek(world: World) -> None:
    barrier = Barrier(100)

    def ask(_: int) -> bytes:
        barrier.wait(60)
        return world.active("acme")

    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(ask, range(100)))) == 1
    assert key_rows(world) == (1, 1, 1)
    assert world.provider.calls == ["wrap", "unwrap"]


DEATHS = {
    "before the tenant is written": "INSERT INTO cmk_tenants",
    "before the DEK is written": "INSERT INTO cmk_deks",
    "before its wrapping is written": "INSERT INTO cmk_wrappings",
    "before the first value is written": "INSERT INTO notes",
}


def write_and_die(url: str, folder: Path, statement: str) -> None:
    """In another process: write a note, and be killed before a statement."""
    with before_statement(statement, die):
        World(url, folder).write("acme", "never written")


@pytest.mark.parametrize("statement", DEATHS.values(), ids=DEATHS)
def test_a_process_killed_while_it_makes_a_dek_leaves_none_or_one_that_opens(
    world: World, statement: str
) -> None:
    assert exit_code(write_and_die, world.url, world.folder, statement) == KILLED
    deks, active, wrappings = key_rows(world)
    assert deks == active == wrappings == (1 if statement == "INSERT INTO notes" else 0)
    world.write("acme", "written")
    assert world.read() == ["written"] and key_rows(world) == (1, 1, 1)


def make_and_die(url: str, folder: Path) -> None:
    World(url, folder).keyring.warm(["acme"], new=True)
    die()


def test_a_dek_whose_maker_was_killed_before_its_first_use_serves(world: World) -> None:
    assert exit_code(make_and_die, world.url, world.folder) == KILLED
    assert key_rows(world) == (1, 1, 1)
    world.write("acme", "written")
    assert world.provider.calls == ["unwrap"]
    assert apart(read_in_another_process, world.url, world.folder) == ["written"]


def read_in_another_process(url: str, folder: Path) -> list[str]:
    return World(url, folder).read()


def fail() -> None:
    raise OSError("the line is cut")


def test_a_dek_is_written_with_its_wrapping_or_not_at_all_on_an_autocommitting_engine(
    database: Database, tmp_path: Path
) -> None:
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    world = World(database.url, tmp_path, engine).create()
    check_that_making_is_atomic(world)
    world.close()


def test_a_dek_is_written_with_its_wrapping_or_not_at_all_where_the_application_begins_by_itself(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url)
    own_begin(engine)
    check_that_making_is_atomic(make_lite(engine=engine))


def check_that_making_is_atomic(world: World) -> None:
    with before_statement("INSERT INTO cmk_wrappings", fail), pytest.raises(KeyUnavailable):
        world.keyring.warm(["acme"], new=True)
    assert key_rows(world) == (0, 0, 0)
    world.write("acme", "written")
    assert world.read() == ["written"] and key_rows(world) == (1, 1, 1)


def test_a_pool_of_one_connection_that_the_session_holds_is_enough(
    database: Database, tmp_path: Path
) -> None:
    engine = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=30)
    world = World(database.url, tmp_path, engine).create()
    world.write("acme", "one")
    world.restart()
    with engine.connect() as connection:
        rows = connection.execute(world.notes.select().order_by(world.notes.c.id))
        assert [row.text for row in rows] == ["one"]
        connection.execute(world.notes.insert(), {"owner": "new", "text": "two"})
        connection.commit()
    world.restart()
    assert world.read() == ["one", "two"]
    world.close()


def test_a_dek_made_by_a_transaction_that_rolls_back_serves_every_process(world: World) -> None:
    with world.engine.connect() as connection:
        connection.execute(world.notes.insert(), {"owner": "acme", "text": "rolled back"})
        connection.rollback()
    before = world.active("acme")
    apart(write_in_another_process, world.url, world.folder)
    assert world.read() == ["kept"] and world.active("acme") == before
    assert key_rows(world) == (1, 1, 1)


def write_in_another_process(url: str, folder: Path) -> None:
    World(url, folder).write("acme", "kept")


def test_another_writer_that_holds_sqlites_lock_is_named_with_what_to_do(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url, connect_args={"timeout": 0.05})
    world = make_lite(engine=engine)
    locked = pytest.raises(
        KeyUnavailable, match=r"locked.*keyring\.warm\(\[tenant\], new=True\) before you write"
    )
    with engine.connect() as other:
        other.execute(text("INSERT INTO notes (owner) VALUES ('x')"))
        with locked:
            world.keyring.warm(["acme"], new=True)
        with locked, engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            connection.execute(world.notes.insert(), {"owner": "acme", "text": "not sealed"})
        other.rollback()
    assert key_rows(world) == (0, 0, 0) and world.read() == []
    world.write("acme", "sealed")
    assert world.read() == ["sealed"]


def test_a_dek_that_is_warm_is_used_while_another_writer_holds_sqlites_lock(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    world = make_lite(engine=create_engine(sqlite_database.url, connect_args={"timeout": 0.05}))
    world.keyring.warm(["acme"], new=True)
    world.keyring.forget()
    with world.engine.begin() as connection:
        connection.execute(text("INSERT INTO notes (owner) VALUES ('x')"))
        connection.execute(world.notes.insert(), {"owner": "acme", "text": "sealed"})
    assert world.read("acme") == ["sealed"]


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """Keep new connections from making the database file larger than it is."""
    pages = world.raw("PRAGMA page_count")[0][0]

    def limit(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(world.engine, "connect", limit)
    world.restart()
    try:
        yield
    finally:
        event.remove(world.engine, "connect", limit)
        world.restart()


def test_a_disk_that_is_full_is_named_and_leaves_no_half_made_dek(lite: World) -> None:
    lite.execute("PRAGMA page_size = 512")
    lite.execute("VACUUM")
    lite.write("before", "sealed")
    served, refused = ["before"], ""
    with full_disk(lite):
        for number in range(100):
            tenant = f"tenant {number}"
            try:
                lite.keyring.warm([tenant], new=True)
            except KeyUnavailable as error:
                assert "disk is full" in str(error)
                refused = tenant
                break
            served.append(tenant)
        assert refused
        with pytest.raises(KeyUnavailable, match="disk is full"):
            lite.write(refused, "not sealed")
        assert lite.read() == ["sealed"]
    assert key_rows(lite) == (len(served),) * 3
    lite.write(refused, "sealed now")
    lite.keyring.warm(served, new=True)
    assert lite.read() == ["sealed", "sealed now"]


IN_MEMORY = ["sqlite://", "sqlite:///:memory:", "sqlite:///file:n?mode=memory&cache=shared&uri=true"]


@pytest.mark.parametrize("url", IN_MEMORY)
def test_sqlite_in_memory_keeps_its_keys_as_long_as_its_engine(
    make_lite: Callable[..., World], url: str
) -> None:
    world = make_lite(engine=create_engine(url, poolclass=StaticPool))
    world.write("acme", "one")
    world.write("acme", "1", table=world.codes)
    world.restart()
    assert world.read() == ["one"]
    world.write("acme", "two")
    assert world.read() == ["one", "two"]
    assert [(line.tenant, line.active) for line in world.keyring.status()] == [("acme", 2)]


def test_sqlite_in_memory_serves_many_threads(make_lite: Callable[..., World]) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    world = make_lite(engine=engine)
    barrier = Barrier(20)

    def ask(number: int) -> bytes:
        barrier.wait(60)
        world.keyring.warm([f"tenant {number}"], new=True)
        return world.active("acme")

    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(ask, range(20)))) == 1
    assert len(world.keyring.status()) == 21


def test_two_engines_in_memory_share_no_keys(make_lite: Callable[..., World]) -> None:
    one, other = make_lite(url="sqlite://"), make_lite(url="sqlite://")
    one.keyring.warm(["acme"], new=True)
    assert other.keyring.status() == [] and other.active("acme") != one.active("acme")
