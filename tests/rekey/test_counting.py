"""Rows are counted by their DEK, and those that are not sealed, in one scan and without a key."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, event, insert, select, text

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.counting import count_rows, count_table, sealed_tables
from tests.support.databases import Database
from tests.support.world import World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Any:
    """A world with a table of two mixed columns and a blob, on each database."""
    world = World(database.url, tmp_path)
    world.mixed = Table(  # type: ignore[attr-defined]
        "mixed",
        world.metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", String(40)),
        Column("text", EncryptedType(String(40), accept_plaintext=True)),
        Column("code", EncryptedType(String(40), deterministic=True, accept_plaintext=True)),
        Column("scan", EncryptedType(LargeBinary(), accept_plaintext=True)),
        info={"cmk_tenant": "owner"},
    )
    yield world.create()
    world.close()


def add_plain(world: Any, **values: Any) -> None:
    """A row as it was before anything was sealed."""
    if world.engine.dialect.name != "sqlite":
        values = {key: one.encode() if isinstance(one, str) else one for key, one in values.items()}
    names = ", ".join(values)
    with world.engine.begin() as connection:
        marks = ", ".join(f":{one}" for one in values)
        connection.execute(text(f"INSERT INTO mixed (owner, {names}) VALUES ('acme', {marks})"), values)


def counted(world: Any, *columns: str, **options: Any) -> Any:
    known = set(world.keyring.dek_states())
    with world.engine.connect() as connection:
        return count_rows(connection, world.mixed, columns, known, **options)


def test_every_row_is_counted_once(world: Any) -> None:
    rows = [{"owner": owner, "text": "t", "code": "c", "scan": b"b"} for owner in ("acme", "acme", "globex")]
    with world.engine.begin() as connection:
        connection.execute(insert(world.mixed), rows)
        connection.execute(insert(world.mixed), {"owner": "acme", "text": None})
    before = world.active("acme")
    world.keyring.lifecycle.rotate_dek("acme")
    with world.engine.begin() as connection:
        connection.execute(insert(world.mixed), rows[:1])
    add_plain(world, text="\x01plain", code="", scan=b"\x01looks like one" + bytes(40))
    add_plain(world, text="078-05-1120", scan=b"\x02")
    found = counted(world, "text", "code", "scan")
    acme, globex = world.active("acme"), world.active("globex")
    fixed = [world.active(one, Purpose.DETERMINISTIC) for one in ("acme", "globex")]
    assert found["text"].by_dek[before] == 2 and found["text"].by_dek[acme] == 1
    assert found["text"].by_dek[globex] == 1
    assert (found["text"].unsealed, found["text"].null, found["text"].sealed) == (2, 1, 4)
    assert found["code"].by_dek == {fixed[0]: 3, fixed[1]: 1}
    assert (found["code"].plain, found["code"].null) == (1, 2)
    assert found["scan"].by_dek[None] == 2 and found["scan"].unsealed == 2
    assert found["scan"].sealed == 4 and found["scan"].null == 1


def test_only_some_rows_are_counted(world: Any) -> None:
    add_plain(world, text="one")
    add_plain(world, text="two")
    assert counted(world, "text", where=world.mixed.c.id == 1)["text"].plain == 1


def test_an_empty_table_counts_nothing(world: Any) -> None:
    found = counted(world, "text")["text"]
    assert (found.by_dek, found.plain, found.null, found.sealed) == ({}, 0, 0, 0)


def test_a_table_is_scanned_once_and_no_key_is_asked_for(world: Any) -> None:
    world.write("acme", "a note")
    world.restart()
    sent: list[str] = []
    event.listen(world.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    counted(world, "text", "code", "scan")
    scans = [one for one in sent if "FROM mixed" in one]
    assert len(scans) == 1 and "OFFSET" not in scans[0]
    assert world.provider.calls == []


def test_the_rows_of_a_table_are_counted_in_all_and_under_each_dek(world: Any) -> None:
    world.write("acme", "one", "two")
    world.write("globex", "three")
    dek_id = world.active("acme")
    with world.engine.begin() as connection:
        found = count_table(connection, world.notes, ["text"], [dek_id])
    assert (found.table, found.rows, found.by_dek) == (world.notes, 3, {dek_id: {"text": 2}})


def test_every_protected_table_with_a_sealed_column_is_known(world: Any) -> None:
    other = MetaData()
    Table("others", other, Column("id", Integer, primary_key=True), Column("x", EncryptedType(String(5))))
    world.keyring.protect(other)
    found = {table.name: columns for table, columns in sealed_tables(world.keyring)}
    assert found == {
        "notes": ["text"],
        "codes": ["text"],
        "mixed": ["text", "code", "scan"],
        "others": ["x"],
    }


def test_a_count_reads_no_value(world: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(insert(world.mixed), {"owner": "acme", "text": "secret"})
        stored = bytes(connection.execute(select(text("text")).select_from(text("mixed"))).scalar_one())
    seen: list[Any] = []
    with world.engine.connect() as connection:

        @event.listens_for(connection, "after_execute")
        def look(*arguments: Any) -> None:
            seen.append(arguments[-1])

        found = count_rows(connection, world.mixed, ["text"], {stored[1:9]})
    assert found["text"].by_dek == {stored[1:9]: 1} and len(seen) == 1
