"""A retired DEK is destroyed once no row is left under it, and not a moment before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    event,
    insert,
    text,
    update,
)

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    KeyRevoked,
    KeyUnavailable,
    databases,
    tenant_scope,
)
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.rekey import drop_retired
from tests.support.databases import Database
from tests.support.keys import adopt
from tests.support.world import World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """An empty world on each database in turn."""
    world = World(database.url, tmp_path).create()
    yield world
    world.close()


@pytest.fixture
def lite(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """An empty world on SQLite."""
    world = World(sqlite_database.url, tmp_path).create()
    yield world
    world.close()


def rotated(world: World, tenant: str = "acme", *, hours_ago: float = 2) -> bytes:
    """Rotate a tenant's DEK, some time ago, and return the one that was retired by it."""
    before = world.active(tenant)
    world.keyring.lifecycle.rotate_dek(tenant)
    deks = world.keyring.database.tables.deks
    moment = datetime.now(UTC) - timedelta(hours=hours_ago)
    past = update(deks).where(deks.c.id == before).values(retired_at=moment)
    world.keyring.database.run(lambda connection: connection.execute(past))
    adopt(world.keyring)
    return before


def state(world: World, dek_id: bytes) -> DekState:
    return world.keyring.dek_states()[dek_id]


def reseal(world: World, tenant: str) -> None:
    """Write a tenant's notes again, as the application may."""
    for note in world.read(tenant):
        with tenant_scope(tenant), world.engine.begin() as connection:
            where = world.notes.c.owner == tenant
            connection.execute(update(world.notes).where(where).values(text=note))


def test_a_dek_without_rows_is_destroyed_with_its_event(world: World) -> None:
    world.write("acme", "a note")
    old = rotated(world)
    reseal(world, "acme")
    report = drop_retired(world.keyring)
    assert (report.dropped, report.kept) == ((old,), {})
    assert state(world, old) is DekState.DESTROYED
    assert world.raw("SELECT count(*) FROM cmk_wrappings") == [(1,)]
    (event,) = [one for one in world.keyring.audit.entries("acme") if one.event == "drop_retired"]
    assert event.dek_id == old.hex()
    assert world.keyring.audit.verify().problems == ()
    assert world.read("acme") == ["a note"]


def test_a_dek_with_rows_is_kept_and_the_count_names_their_column(world: World) -> None:
    world.write("acme", "one", "two")
    old = rotated(world)
    report = drop_retired(world.keyring, "acme")
    assert (report.dropped, dict(report.kept)) == ((), {old: "notes.text: 2 rows"})
    assert state(world, old) is DekState.RETIRED
    world.restart()
    assert world.read("acme") == ["one", "two"]


def test_rows_of_a_second_metadata_count_too(world: World) -> None:
    other = MetaData()
    columns = (Column("id", Integer, primary_key=True), Column("owner", String(9)))
    table = Table(
        "others", other, *columns, Column("x", EncryptedType(String(5))), info={"cmk_tenant": "owner"}
    )
    other.create_all(world.engine)
    world.keyring.protect(other)
    with world.engine.begin() as connection:
        connection.execute(insert(table), {"owner": "acme", "x": "y"})
    old = rotated(world)
    assert drop_retired(world.keyring).kept[old] == "others.x: 1 row"


def test_sealed_values_in_a_column_that_no_model_declares_yet_count_too(world: World) -> None:
    """As a migration that is under way keeps them, beside a table that holds plaintext still."""
    plain = MetaData()
    Table("people", plain, Column("id", Integer, primary_key=True), Column("ssn", String(20)))
    plain.create_all(world.engine)
    world.keyring.protect(plain)
    blob = {"postgresql": "BYTEA", "sqlite": "BLOB"}.get(world.engine.dialect.name, "LONGBLOB")
    world.execute(f"ALTER TABLE people ADD COLUMN ssn__cmk {blob}")
    world.write("acme", "078-05-1120")
    world.execute("INSERT INTO people (id, ssn, ssn__cmk) SELECT 1, '078-05-1120', text FROM notes")
    world.execute("DELETE FROM notes")
    old = rotated(world)
    assert drop_retired(world.keyring).kept == {old: "people.ssn__cmk: 1 row"}


@pytest.mark.parametrize("declared", [String(40), LargeBinary()])
def test_sealed_values_in_a_column_that_a_model_says_is_plain_count_too(world: World, declared: Any) -> None:
    """As a migration that decrypts has them, once the application that knows is deployed."""
    world.write("acme", "one")
    old = rotated(world)
    world.keyring.close()
    after = MetaData()
    Table("notes", after, Column("id", Integer, primary_key=True), Column("text", declared))
    Table("codes", after, Column("id", Integer, primary_key=True), Column("text", EncryptedType(String(40))))
    world.keyring = world.new_keyring()
    world.keyring.protect(after)
    assert drop_retired(world.keyring).kept == {old: "notes.text: 1 row"}


def test_a_dek_that_was_retired_a_moment_ago_is_kept(world: World) -> None:
    """Another process may still seal under it."""
    world.keyring.warm(["acme"], new=True)
    old = rotated(world, hours_ago=1)  # outage_grace is an hour, and clocks may differ by a minute
    report = drop_retired(world.keyring)
    assert report.dropped == () and "other processes may seal under it until" in report.kept[old]
    assert state(world, old) is DekState.RETIRED


def test_a_process_that_has_not_noticed_the_rotation_seals_until_it_is_over(lite: World) -> None:
    """The reason for the wait: what it is there to outlast really happens."""
    other = World(lite.url, lite.folder)
    other.write("acme", "before")
    old = other.active("acme")
    lite.keyring.lifecycle.rotate_dek("acme")
    other.now += other.keyring.revalidate_after - 1
    other.write("acme", "unnoticed")
    assert [bytes(one)[1:9] for (one,) in other.raw("SELECT text FROM notes")] == [old, old]
    other.now += 2
    other.write("acme", "noticed")
    assert bytes(other.raw("SELECT text FROM notes ORDER BY id")[2][0])[1:9] != old
    other.close()


def test_the_longest_settings_of_all_processes_count_and_not_those_of_who_drops(world: World) -> None:
    other = World(world.url, world.folder, revalidate_after=4 * 3600)
    world.keyring.warm(["acme"], new=True)
    other.keyring.warm(["acme"], new=True)
    other.close()
    old = rotated(world, hours_ago=2)
    assert "other processes may seal under it until" in drop_retired(world.keyring).kept[old]
    world.execute("DELETE FROM cmk_audit")  # it is the DEK's own record that says so
    assert "until" in drop_retired(world.keyring).kept[old]


def test_a_retirement_of_unknown_date_is_kept(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    old = rotated(world)
    world.execute("UPDATE cmk_deks SET retired_at = NULL")
    adopt(world.keyring)
    assert "retired_at" in drop_retired(world.keyring).kept[old]


def test_an_active_dek_is_never_dropped(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    assert drop_retired(world.keyring, "acme").dropped == ()
    assert state(world, world.active("acme")) is DekState.ACTIVE


def test_a_row_that_is_written_and_not_committed_is_waited_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases.Database, "writer_seconds", 1)
    url = f"{database.url}?timeout=1" if database.name == "sqlite" else database.url
    world = World(url, tmp_path).create()
    old = rotated(world)
    unnoticing = World(url, tmp_path)
    unnoticing.keyring.opened.activate(unnoticing.keyring.dek(old))  # as it was until it was retired
    with unnoticing.engine.connect() as writer:
        writer.execute(unnoticing.notes.insert(), {"owner": "acme", "text": "late"})
        with pytest.raises(KeyUnavailable, match="transaction"):
            drop_retired(world.keyring)
        writer.commit()
    assert drop_retired(world.keyring).kept == {old: "notes.text: 1 row"}
    unnoticing.close()
    world.close()


def test_all_tenants_are_counted_in_one_scan(lite: World) -> None:
    lite.write("acme", "kept")
    old = [rotated(lite, one) for one in ("acme", "globex", "initech")]
    counts = 0

    def look(*arguments: Any) -> None:
        nonlocal counts
        counts += "FROM notes" in arguments[2]

    event.listen(Engine, "before_cursor_execute", look)
    try:
        report = drop_retired(lite.keyring)
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert set(report.dropped) == set(old[1:]) and set(report.kept) == {old[0]}
    assert counts == 1


def test_a_dek_that_another_process_destroys_meanwhile_is_passed_over(
    lite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is faster between the look at a tenant's keys and the count of rows."""
    lite.write("acme", "a note")
    before = rotated(lite)
    reseal(lite, "acme")
    store = lite.keyring.store
    retired = store.retired_ids

    def after_another() -> list[bytes]:
        monkeypatch.setattr(store, "retired_ids", retired)
        assert drop_retired(lite.keyring).dropped == (before,)
        return retired()

    monkeypatch.setattr(store, "retired_ids", after_another)
    report = drop_retired(lite.keyring)
    assert not report.dropped and not report.kept
    assert state(lite, before) is DekState.DESTROYED


def test_a_table_that_is_not_there_ends_it_before_anything_is_destroyed(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    old = rotated(world)
    world.execute("DROP TABLE codes")
    with pytest.raises((ConfigurationError, KeyUnavailable), match="codes"):
        drop_retired(world.keyring)
    assert state(world, old) is DekState.RETIRED


def test_a_keyring_without_models_cannot_count(lite: World) -> None:
    lite.keyring.warm(["acme"], new=True)
    rotated(lite)
    with pytest.raises(ConfigurationError, match="protect"):
        drop_retired(lite.new_keyring())


def test_a_shredded_tenant_is_passed_over(lite: World) -> None:
    lite.keyring.warm(["acme", "globex"], new=True)
    rotated(lite, "acme")
    old = rotated(lite, "globex")
    lite.keyring.lifecycle.shred("acme", confirm="acme")
    assert drop_retired(lite.keyring).dropped == (old,)
    with pytest.raises(KeyRevoked):
        drop_retired(lite.keyring, "acme")


def test_a_value_under_a_dropped_dek_that_turns_up_again_says_so(world: World) -> None:
    world.write("acme", "restored from a backup")
    (stored,) = (bytes(one) for (one,) in world.raw("SELECT text FROM notes"))
    world.execute("DELETE FROM notes")
    old = rotated(world)
    assert drop_retired(world.keyring).dropped == (old,)
    with world.engine.begin() as connection:
        connection.execute(text("INSERT INTO notes (owner, text) VALUES ('acme', :v)"), {"v": stored})
    world.restart()
    with pytest.raises(KeyRevoked, match="destroyed"):
        world.read("acme")


@pytest.mark.drivers("sync")  # another driver has another database in memory
def test_sqlite_in_memory_is_counted_on_the_applications_connection(tmp_path: Path) -> None:
    world = World("sqlite://", tmp_path).create()
    world.write("acme", "a note")
    old = rotated(world)
    with pytest.raises(ConfigurationError, match="nothing was dropped"):
        drop_retired(world.keyring)
    with world.engine.connect() as connection:
        assert drop_retired(world.keyring, connection=connection).kept == {old: "notes.text: 1 row"}
    world.close()
