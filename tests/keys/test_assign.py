"""Giving a tenant another KEK: its values stay as they are, and open as before."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable, TenantRequired
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.keys.conftest import before_statement, own_begin
from tests.keys.processes import KILLED, die, exit_code, together
from tests.support.databases import Database
from tests.support.world import World

VARIABLE = "CMK_TEST_FIXED_KEKS"


@pytest.fixture
def filled(world: World) -> World:
    """A world with notes and codes of two tenants."""
    fill(world)
    return world


def fill(world: World) -> None:
    world.write("acme", "one", "two")
    world.write("acme", "code", table=world.codes)
    world.write("globex", "three")


def data(world: World) -> list[tuple[Any, ...]]:
    """Every row of the application's tables, byte for byte."""
    notes, codes = (
        world.raw(f"SELECT id, owner, text FROM {table} ORDER BY id") for table in ("notes", "codes")
    )
    return [(number, owner, bytes(sealed)) for number, owner, sealed in notes + codes]


def keys(world: World) -> list[tuple[Any, ...]]:
    """Every tenant's KEK, and every wrapping, byte for byte."""
    tenants = world.raw("SELECT tenant, kek_uri FROM cmk_tenants ORDER BY tenant")
    wrappings = world.raw("SELECT dek_id, kek_uri, kek_version, wrapped FROM cmk_wrappings ORDER BY dek_id")
    return [tuple(map(str, row)) for row in tenants] + [tuple(map(str, map(plain, row))) for row in wrappings]


def plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def keks(world: World) -> dict[str, set[str]]:
    """By tenant, the KEKs that wrap its DEKs."""
    found: dict[str, set[str]] = {}
    for tenant, kek_uri in world.raw(
        "SELECT d.tenant, w.kek_uri FROM cmk_deks d JOIN cmk_wrappings w ON w.dek_id = d.id"
    ):
        found.setdefault(text_of(tenant), set()).add(text_of(kek_uri))
    return found


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def opens(world: World) -> bool:
    notes, codes = world.read(), world.read(table=world.codes)
    return notes == ["one", "two", "three"] and codes == ["code"]


def test_a_tenant_moves_to_its_own_kek_and_back(filled: World) -> None:
    before = data(filled)
    filled.keyring.assign("acme", "local:acme")
    assert keks(filled) == {"acme": {"local:acme"}, "globex": {"local:pmk"}}
    assert opens(filled)
    filled.restart()
    assert opens(filled)
    filled.keyring.assign("acme", "local:pmk")
    assert keks(filled) == {"acme": {"local:pmk"}, "globex": {"local:pmk"}}
    filled.restart()
    assert opens(filled) and data(filled) == before


def test_from_then_on_the_new_kek_alone_decides(filled: World) -> None:
    filled.keyring.assign("acme", "local:acme")
    filled.keyring.assign("globex", "local:globex")
    filled.provider.disable("local:pmk")
    filled.restart()
    assert opens(filled)
    filled.provider.disable("local:acme")
    filled.restart()
    with pytest.raises(KeyRevoked, match="local:acme"):
        filled.read("acme")
    assert filled.read("globex") == ["three"]


def test_another_process_sees_the_move_when_its_key_is_proven_anew(filled: World) -> None:
    other = World(filled.url, filled.folder)
    assert opens(other)
    filled.keyring.assign("acme", "local:acme")
    filled.provider.disable("local:acme")
    assert opens(other)
    other.now += 300
    with pytest.raises(KeyRevoked, match="local:acme"):
        other.read("acme")
    other.close()


def test_running_it_twice_is_harmless(filled: World) -> None:
    before = data(filled)
    for _ in range(2):
        filled.keyring.assign("acme", "local:acme")
        assert keks(filled)["acme"] == {"local:acme"} and opens(filled)
    assert data(filled) == before
    assert filled.raw("SELECT count(*) FROM cmk_deks") == [(3,)]


def test_a_tenant_may_be_given_its_kek_before_its_first_row(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    assert [(line.tenant, line.kek_uri, line.active) for line in world.keyring.status()] == [
        ("acme", "local:acme", 0)
    ]
    world.write("acme", "one")
    assert keks(world) == {"acme": {"local:acme"}} and world.read() == ["one"]


def test_the_platform_may_be_given_another_kek(world: World) -> None:
    world.keyring.warm([""])
    before = world.active("")
    world.keyring.assign("", "local:newer")
    assert keks(world) == {"": {"local:newer"}} and world.active("") == before


@pytest.mark.parametrize("tenant", ["acme", "new"])
@pytest.mark.parametrize("uri", ["", "acme", "local:", "https://acme.vault.azure.net/keys/clinic-kek"])
def test_a_kek_that_no_provider_handles_is_refused(filled: World, tenant: str, uri: str) -> None:
    before = keys(filled)
    with pytest.raises(ConfigurationError, match="no provider handles the KEK"):
        filled.keyring.assign(tenant, uri)
    assert keys(filled) == before and opens(filled)


@pytest.mark.parametrize("tenant", ["acme", "new"])
def test_a_kek_that_does_not_exist_is_refused(
    filled: World, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, (filled.folder / "keys.json").read_text())
    record_key = f"file:{filled.folder / 'keys.json.record-key'}"
    filled.restart(providers=[LocalKeyProvider.from_environment(VARIABLE)], record_key=record_key)
    before = keys(filled)
    with pytest.raises(ConfigurationError, match="local:mistyped"):
        filled.keyring.assign(tenant, "local:mistyped")
    assert keys(filled) == before and opens(filled)


@pytest.mark.parametrize("tenant", ["acme", "new"])
def test_a_kek_that_is_revoked_is_refused(filled: World, tenant: str) -> None:
    filled.keyring.assign("globex", "local:globex")
    filled.provider.disable("local:globex")
    before = keys(filled)
    with pytest.raises(KeyRevoked, match="local:globex"):
        filled.keyring.assign(tenant, "local:globex")
    assert keys(filled) == before


@pytest.mark.parametrize("tenant", ["acme", "new"])
def test_a_kek_that_cannot_be_reached_is_refused(filled: World, tenant: str) -> None:
    def away(kek_uri: str) -> None:
        if kek_uri == "local:far":
            raise KeyUnavailable("the vault is away")

    filled.provider.fault = away
    before = keys(filled)
    with pytest.raises(KeyUnavailable, match="the vault is away"):
        filled.keyring.assign(tenant, "local:far")
    assert keys(filled) == before and opens(filled)


def test_a_tenant_whose_kek_is_revoked_cannot_be_moved(filled: World) -> None:
    filled.keyring.assign("acme", "local:acme")
    filled.provider.disable("local:acme")
    before = keys(filled)
    with pytest.raises(KeyRevoked, match="local:acme is disabled"):
        filled.keyring.assign("acme", "local:pmk")
    assert keys(filled) == before


@pytest.mark.parametrize("tenant", [None, "a" * 191])
def test_what_is_no_tenants_name_is_refused(lite: World, tenant: Any) -> None:
    with pytest.raises(TenantRequired):
        lite.keyring.assign(tenant, "local:acme")
    assert lite.keyring.status() == []


def assign_in_another_process(url: str, folder: Path) -> None:
    world = World(url, folder)
    world.keyring.assign("acme", f"local:of-{os.getpid()}")
    world.close()


def test_eight_processes_that_assign_at_once_leave_one_kek(filled: World) -> None:
    together(8, assign_in_another_process, filled.url, filled.folder)
    (chosen,) = keks(filled)["acme"]
    assert chosen.startswith("local:of-")
    assert next(line.kek_uri for line in filled.keyring.status() if line.tenant == "acme") == chosen
    filled.restart()
    assert opens(filled)


def test_values_are_written_and_read_while_a_tenant_moves(world: World) -> None:
    if world.engine.dialect.name == "sqlite":
        world.raw("PRAGMA journal_mode = WAL")  # without it a reader and a writer shut each other out
    fill(world)
    other = World(world.url, world.folder)
    moved, ready = threading.Event(), threading.Barrier(3)

    def write(number: int) -> int:
        ready.wait(60)
        written = 0
        while not written or not moved.wait(0.01):
            other.keyring.forget()
            other.write("acme", f"during {number}")
            assert "one" in other.read("acme")
            written += 1
        return written

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            ready.wait(60)
            for kek_uri in ("local:acme", "local:pmk") * 3:
                world.keyring.assign("acme", kek_uri)
        finally:
            moved.set()
        written = sum(one.result(60) for one in writers)
    world.restart()
    assert len(world.read("acme")) == 2 + written
    assert keks(world)["acme"] == {"local:pmk"}
    other.close()


def test_the_old_kek_may_be_switched_off_the_moment_a_tenant_has_moved(world: World) -> None:
    world.keyring.assign("acme", "local:old")
    world.write("acme", "one")
    other = World(world.url, world.folder)

    def move_first(kek_uri: str) -> None:
        other.provider.fault = lambda kek_uri: None
        world.keyring.assign("acme", "local:new")
        world.provider.disable("local:old")

    other.provider.fault = move_first
    assert other.read("acme") == ["one"]
    assert next(line.state for line in other.keyring.status() if line.tenant == "acme") == "ok"
    other.close()


def assign_and_die(url: str, folder: Path, statement: str) -> None:
    world = World(url, folder)
    with before_statement(statement, die):
        world.keyring.assign("acme", "local:acme")


@pytest.mark.parametrize(
    "statement", ["UPDATE cmk_tenants", "DELETE FROM cmk_wrappings", "INSERT INTO cmk_wrappings"]
)
def test_a_process_killed_while_it_assigns_changes_nothing(filled: World, statement: str) -> None:
    before = keys(filled)
    assert exit_code(assign_and_die, filled.url, filled.folder, statement) == KILLED
    assert keys(filled) == before and opens(filled)
    filled.keyring.assign("acme", "local:acme")
    filled.restart()
    assert opens(filled) and keks(filled)["acme"] == {"local:acme"}


def fail() -> None:
    raise OSError("the line is cut")


def check_that_moving_is_atomic(world: World) -> None:
    before = keys(world)
    with before_statement("INSERT INTO cmk_wrappings", fail), pytest.raises(KeyUnavailable):
        world.keyring.assign("acme", "local:acme")
    assert keys(world) == before
    world.restart()
    assert opens(world)


def test_no_wrapping_is_lost_on_an_autocommitting_engine(database: Database, tmp_path: Path) -> None:
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    world = World(database.url, tmp_path, engine).create()
    fill(world)
    check_that_moving_is_atomic(world)
    world.close()


def test_no_wrapping_is_lost_where_the_application_begins_by_itself(
    make_lite: Callable[..., World], sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url)
    own_begin(engine)
    world = make_lite(engine=engine)
    fill(world)
    check_that_moving_is_atomic(world)
