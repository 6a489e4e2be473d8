"""Before a DEK is destroyed, values under it are looked for where no model says that there are any."""

import secrets
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import ConfigurationError, KeyUnavailable, databases
from sqlalchemy_cmk.databases.visibility.stored import StoredTable
from sqlalchemy_cmk.format import Suite, header_of
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.rekey import drop_retired, dropping, searching
from sqlalchemy_cmk.rekey.searching import forms, is_named
from tests.rekey.test_dropping import rotated, state
from tests.support.databases import Database
from tests.support.roles import owner_of
from tests.support.world import World

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
MARIADB = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
SERVERS = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
SCHEMAS = {"sqlite": "main", "postgresql": "public"}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world with one note on each database in turn."""
    world = World(database.url, tmp_path).create()
    world.write("acme", "a note")
    yield world
    world.close()


def schema(world: World) -> str:
    return SCHEMAS.get(world.engine.dialect.name) or str(world.engine.url.database)


def kept(world: World, old: bytes, **options: Any) -> str:
    return drop_retired(world.keyring, **options).kept.get(old, "")


def archived(world: World, statement: str = "CREATE TABLE archive AS SELECT * FROM notes") -> bytes:
    """Copy the note to where no model is, delete it, and return the DEK that the copy needs."""
    world.execute(statement)
    world.execute("DELETE FROM notes")
    return rotated(world)


def test_an_archive_keeps_a_dek_until_it_is_ignored_by_name(world: World) -> None:
    old = archived(world)
    assert f"{schema(world)}.archive.text (of no model: see --ignore): 1 row" in kept(world, old)
    assert state(world, old) is DekState.RETIRED
    assert kept(world, old, ignoring=["other", "else.*"])
    assert drop_retired(world.keyring, ignoring=["archive"]).dropped == (old,)


def test_a_whole_schema_is_ignored_by_a_pattern(world: World) -> None:
    old = archived(world)
    assert drop_retired(world.keyring, ignoring=[f"{schema(world)}.*"]).dropped == (old,)


def test_what_is_ignored_is_a_list(world: World) -> None:
    with pytest.raises(ConfigurationError, match="ignoring is a list of tables' names, not str"):
        drop_retired(world.keyring, ignoring="archive")


@pytest.mark.parametrize("form", ["base64", "urlsafe", "hex", "HEX"])
def test_values_in_text_and_json_are_found(world: World, form: str) -> None:
    (stored,) = (bytes(one) for (one,) in world.raw("SELECT text FROM notes"))
    encode = {
        "base64": lambda: b64encode(stored).decode(),
        "urlsafe": lambda: urlsafe_b64encode(stored).decode(),
        "hex": stored.hex,
        "HEX": lambda: stored.hex().upper(),
    }[form]
    old = archived(world, "CREATE TABLE exports (body TEXT, extra JSON)")
    with world.engine.begin() as connection:
        row = {"body": f"acme,{encode()},1", "extra": f'{{"note": "{encode()}"}}'}
        connection.execute(text("INSERT INTO exports VALUES (:body, :extra)"), row)
    found = kept(world, old)
    assert "exports.body" in found and "exports.extra" in found


def test_a_dek_begins_its_values_in_these_forms() -> None:
    dek_id = bytes(range(8))
    for suite in Suite:
        value = header_of(suite, dek_id) + b"anything"
        for form in (b64encode(value).decode(), urlsafe_b64encode(value).decode(), value.hex()):
            assert any(form.startswith(one) for one in forms(dek_id))


def test_every_form_of_every_dek_has_the_shape_that_is_looked_for() -> None:
    ids = [bytes([first]) + b"\xff" * 7 for first in range(256)] + [
        bytes(8),
        b"\xfb\xef\xbe" * 2 + b"\xfb\xff",
    ]
    for form in (one for dek_id in ids for one in forms(dek_id)):
        assert searching._FORM.findall(f"x{form}x")[0] == form


def test_other_values_keep_no_dek(world: World) -> None:
    world.execute("CREATE TABLE files (name VARCHAR(80), body TEXT)")
    world.execute("INSERT INTO files VALUES ('a', 'plain'), (NULL, NULL), ('01020304', '0a0b')")
    world.execute("DELETE FROM notes")
    old = rotated(world)
    assert drop_retired(world.keyring).dropped == (old,)


def test_of_a_table_that_is_large_a_sample_is_searched_and_said_to_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "FULL_BYTES", 0)
    old = archived(world)
    world.execute("ANALYZE archive" if schema(world) in ("main", "public") else "ANALYZE TABLE archive")
    assert "archive.text" in kept(world, old)
    assert f"{schema(world)}.archive" in drop_retired(world.keyring).sampled


def test_names_are_matched_with_their_schema_or_alone_in_the_default_one() -> None:
    default = StoredTable("public", "archive", True, (), (), 0)
    other = StoredTable("old", "archive", False, (), (), 0)
    assert is_named(default, ["archive"]) and is_named(default, ["public.*"])
    assert not is_named(other, ["archive"]) and is_named(other, ["old.archive"])


@POSTGRESQL
class TestPostgreSQL:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE SCHEMA old; CREATE TABLE old.notes AS SELECT * FROM notes",
            "CREATE MATERIALIZED VIEW copies AS SELECT * FROM notes",
            "CREATE TABLE copies AS SELECT array_agg(text) AS texts FROM notes",
            "CREATE TABLE copies AS SELECT to_jsonb(notes) AS note FROM notes",
            "CREATE TYPE two AS (a int, b bytea); CREATE TABLE copies AS SELECT row(1, text)::two FROM notes",
            "CREATE DOMAIN sealed AS bytea; CREATE TABLE copies AS SELECT text::sealed AS text FROM notes",
        ],
    )
    def test_copies_of_every_kind_are_found(self, world: World, statement: str) -> None:
        old = archived(world, statement)
        assert "of no model" in kept(world, old)

    def test_a_partition_counts_with_its_table_and_once_detached_on_its_own(self, world: World) -> None:
        world.execute("DROP TABLE codes")
        world.execute("CREATE TABLE codes (id int, owner text, text bytea) PARTITION BY RANGE (id)")
        world.execute("CREATE TABLE codes_1 PARTITION OF codes FOR VALUES FROM (0) TO (9)")
        old = archived(world, "INSERT INTO codes SELECT * FROM notes")
        assert kept(world, old) == "codes.text: 1 row"
        world.execute("ALTER TABLE codes DETACH PARTITION codes_1")
        assert kept(world, old) == "public.codes_1.text (of no model: see --ignore): 1 row"

    def test_a_table_that_may_not_be_read_is_named(self, database: Database, tmp_path: Path) -> None:
        admin = create_engine(database.url)
        with admin.begin() as connection:
            connection.execute(text("CREATE SCHEMA secret"))
            connection.execute(text("CREATE TABLE secret.archive (body bytea)"))
        with owner_of(database) as url:
            world = World(url, tmp_path).create()
            world.keyring.warm(["acme"], new=True)
            old = rotated(world)
            with pytest.raises(ConfigurationError, match=r"secret\.archive.*permission denied.*--ignore"):
                drop_retired(world.keyring)
            assert drop_retired(world.keyring, ignoring=["secret.*"]).dropped == (old,)
            world.close()
        admin.dispose()


@MARIADB
def test_the_same_table_in_another_database_of_the_server_is_found(world: World) -> None:
    other = f"{schema(world)}_old"
    world.execute(f"CREATE DATABASE {other}")
    try:
        old = archived(world, f"CREATE TABLE {other}.notes AS SELECT * FROM notes")
        assert f"{other}.notes.text" in kept(world, old)
    finally:
        world.execute(f"DROP DATABASE {other}")


@MARIADB
def test_an_account_that_does_not_see_every_table_is_refused(world: World) -> None:
    """MariaDB does not list a table for which an account has no privilege."""
    name, account = schema(world), f"cmk_{secrets.token_hex(6)}"
    old, there = archived(world), make_url(world.url).set(username=account)
    tables = [row[0] for row in world.raw("SHOW TABLES") if row[0] != "archive"]
    world.execute(f"CREATE USER {account}")
    try:
        for table in tables:
            world.execute(f"GRANT ALL ON {table} TO {account}")
        world.execute(f"GRANT LOCK TABLES ON {name}.* TO {account}")
        narrow = World(there.render_as_string(hide_password=False), world.folder)
        with pytest.raises(ConfigurationError, match=rf"{name}\.\*.*are not listed: GRANT SELECT"):
            drop_retired(narrow.keyring)
        assert state(world, old) is DekState.RETIRED
        pattern = name.replace("_", r"\_")
        world.execute(f"GRANT SELECT, LOCK TABLES ON `{pattern}`.* TO {account}")
        narrow.restart()
        assert "archive.text" in kept(narrow, old)
        narrow.close()
    finally:
        world.execute(f"DROP USER {account}")


@MARIADB
@pytest.mark.parametrize(
    ("change", "found"), [("RENAME TABLE archive TO moved", "moved.text"), ("DROP TABLE archive", "")]
)
def test_a_table_that_is_renamed_while_others_are_searched_is_found_and_one_that_is_dropped_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str, found: str
) -> None:
    old, search, changes = archived(world), searching._search_table, [change]

    def search_later(connection: Any, stored: StoredTable, *arguments: Any) -> None:
        if stored.name == "archive" and changes:
            world.execute(changes.pop())
        search(connection, stored, *arguments)

    monkeypatch.setattr(searching, "_search_table", search_later)
    assert found in kept(world, old)
    assert not changes and state(world, old) is (DekState.RETIRED if found else DekState.DESTROYED)


def changed_after_the_snapshot(
    world: World, monkeypatch: pytest.MonkeyPatch, statements: Iterator[str]
) -> None:
    """Have tables be made and altered between the first query and the count of a table."""
    count = dropping.count_table

    def change_and_count(connection: Connection, *arguments: Any) -> Any:
        connection.execute(text("SELECT * FROM codes")).all()
        for statement in islice(statements, 1):
            world.execute(statement)
        return count(connection, *arguments)

    monkeypatch.setattr(dropping, "count_table", change_and_count)


@pytest.mark.drivers("sync")
@MARIADB
def test_a_table_that_is_newer_than_the_snapshot_is_searched_in_a_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = archived(world)
    changed_after_the_snapshot(world, monkeypatch, iter(["CREATE TABLE late AS SELECT * FROM archive"]))
    assert "late.text" in kept(world, old)


@pytest.mark.drivers("sync")
@POSTGRESQL
@pytest.mark.parametrize("table", ["archive", "notes"])
def test_a_table_that_is_written_anew_after_the_snapshot_is_not_taken_for_empty(
    world: World, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """To an older snapshot it is: https://www.postgresql.org/docs/current/mvcc-caveats.html"""
    old = archived(world)
    world.execute("INSERT INTO notes SELECT * FROM archive")
    world.execute(f"DELETE FROM {'notes' if table == 'archive' else 'archive'}")
    again = f"ALTER TABLE {table} ALTER COLUMN text TYPE bytea USING text || ''::bytea"
    changed_after_the_snapshot(world, monkeypatch, iter([again]))
    assert f"{table}.text" in kept(world, old)


@pytest.mark.drivers("sync")
@SERVERS
def test_tables_that_are_altered_again_and_again_are_no_reason_to_drop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = archived(world)
    again = "ALTER TABLE archive ALTER COLUMN text TYPE bytea USING text || ''::bytea"
    each = repeat(again) if schema(world) == "public" else repeat("ALTER TABLE archive FORCE")
    changed_after_the_snapshot(world, monkeypatch, each)
    with pytest.raises(KeyUnavailable, match=r"times in a row .*try again"):
        drop_retired(world.keyring)
    assert state(world, old) is DekState.RETIRED


@SERVERS
def test_a_copy_that_is_not_committed_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases.Database, "writer_seconds", 1)
    world.execute("CREATE TABLE archive AS SELECT * FROM notes WHERE 1 = 0")
    with world.engine.connect() as copying:
        copying.execute(text("INSERT INTO archive SELECT * FROM notes"))
        old = rotated(world)
        with pytest.raises(KeyUnavailable, match=r"may copy sealed|that writes to the sealed"):
            drop_retired(world.keyring)
        copying.commit()
    world.execute("DELETE FROM notes")
    assert "archive.text" in kept(world, old)


@MARIADB
@pytest.mark.drivers("sync")
def test_a_copy_is_seen_though_others_read_the_list_of_transactions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """InnoDB gives everybody an old list as long as somebody reads it, other tests too: for a moment only."""
    monkeypatch.setattr("sqlalchemy_cmk.databases.visibility.mariadb._LOOKS", 3)
    monkeypatch.setattr(databases.Database, "writer_seconds", 1)
    world.execute("CREATE TABLE archive AS SELECT * FROM notes WHERE 1 = 0")
    over = threading.Event()

    def look() -> None:
        with world.engine.connect() as connection:
            while not over.wait(0.001):
                connection.exec_driver_sql("SELECT count(*) FROM information_schema.innodb_trx")

    others = threading.Thread(target=look)
    others.start()
    try:
        with world.engine.connect() as copying:
            copying.execute(text("INSERT INTO archive SELECT * FROM notes"))
            old = rotated(world)
            with pytest.raises(KeyUnavailable, match=r"may copy sealed|which transactions are writing"):
                drop_retired(world.keyring)
    finally:
        over.set()
        others.join()
    assert state(world, old) is DekState.RETIRED


@POSTGRESQL
def test_a_table_that_is_being_made_is_waited_for(world: World) -> None:
    with world.engine.connect() as copying:
        copying.execute(text("CREATE TABLE archive AS SELECT * FROM notes"))
        world.execute("DELETE FROM notes")
        old = rotated(world)
        found: list[str] = []
        drop = threading.Thread(target=lambda: found.append(kept(world, old)))
        drop.start()
        drop.join(0.5)
        copying.commit()
        drop.join()
    assert "archive.text" in found[0]


@POSTGRESQL
def test_an_async_driver_searches_as_well(database: Database, tmp_path: Path) -> None:
    sync = World(database.url, tmp_path).create()
    sync.write("acme", "a note")
    old = archived(sync)
    url = make_url(database.url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    keyring = type(sync.keyring)(engine, platform_key="local:pmk", providers=[sync.provider])
    sync.keyring.close()
    keyring.protect(sync.metadata)
    assert "archive.text" in drop_retired(keyring).kept[old]
    keyring.close()
    sync.engine.dispose()
