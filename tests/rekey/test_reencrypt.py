"""Rows are re-encrypted under their tenants' active DEKs, and read as before."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.rekey import Job, Rekey
from tests.rekey.conftest import TENANTS, add_people, at_write, fill, rotate, values
from tests.support.databases import Database
from tests.support.world import World


def headers(world: World) -> set[bytes]:
    return {bytes(row[0])[1:9] for row in world.raw("SELECT text FROM notes")}


def test_every_row_is_moved_to_the_active_dek_and_reads_as_before(world: World) -> None:
    before = world.read()
    for tenant in ("acme", "globex"):
        world.keyring.lifecycle.rotate_dek(tenant)
    job = Job.of(world.notes)
    rekey = Rekey(world.keyring, chunk=7, rate=None)
    assert rekey.rows_left(job) == 120
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 120 and report.rows_left == 0, report
    assert headers(world) == {world.active("acme"), world.active("globex")}
    assert world.read() == before
    assert rekey.verify(job).ok


def test_a_process_that_has_an_older_dek_open_seals_under_the_one_that_another_has_made(world: World) -> None:
    here = World(world.url, world.folder, revalidate_after=300)
    here.keyring.warm(["acme", "globex"], new=True)
    world.keyring.lifecycle.rotate_dek("acme")
    report = Rekey(here.keyring, rate=None).run(Job.of(here.notes))
    assert report.ok and report.rows_changed == 60
    assert world.active("acme") in headers(world)
    here.close()


def test_rows_of_tenants_that_alternate_and_empty_ones_are_done_beside_damaged_ones(bare: World) -> None:
    owners = [TENANTS[n % 2] for n in range(60)]
    texts = [None if n % 7 == 0 else f"{owner} {n}" for n, owner in enumerate(owners)]
    pairs = enumerate(zip(owners, texts, strict=True), 1)
    rows = [{"id": n, "owner": owner, "text": one} for n, (owner, one) in pairs]
    fill(bare, bare.notes, rows)
    stored = dict(bare.raw("SELECT id, text FROM notes"))
    with bare.engine.begin() as connection:
        for key in (12, 31):
            moved = {"v": stored[key + 1], "k": key}
            connection.execute(text("UPDATE notes SET text = :v WHERE id = :k"), moved)
    rotate(bare)
    report = Rekey(bare.keyring, rate=None).run(Job.of(bare.notes))
    assert [one.key for one in report.damaged] == ["[12]", "[31]"], "values of the other tenant"
    assert report.rows_changed == sum(one is not None for one in texts) - 2
    bare.execute("DELETE FROM notes WHERE id IN (12, 31)")
    assert values(bare, bare.notes.c.text) == [one for n, one in enumerate(texts, 1) if n not in (12, 31)]


def test_all_columns_of_a_table_are_written_in_one_pass(bare: World) -> None:
    people = add_people(bare)
    rows = [{"id": n + 1, "owner": "acme", "sealed": f"a {n}", "other": f"b {n}"} for n in range(20)]
    fill(bare, people, rows)
    bare.keyring.lifecycle.rotate_dek("acme")
    with at_write(1, lambda: None) as batches:
        report = Rekey(bare.keyring, chunk=10, rate=None).run(Job.of(people))
    assert report.ok and report.rows_changed == 20 and len(batches) == 2
    assert values(bare, people.c.sealed) == [row["sealed"] for row in rows]
    assert values(bare, people.c.other) == [row["other"] for row in rows]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_the_keyring_of_an_async_engine_serves_as_well(database: Database, tmp_path: Path) -> None:
    world = World(database.url, tmp_path, revalidate_after=0).create()
    world.write("acme", *(f"s{n}" for n in range(30)))
    world.keyring.lifecycle.rotate_dek("acme")
    options = {"platform_key": "local:pmk", "providers": [world.provider], "revalidate_after": 0}
    keyring = Keyring(create_async_engine(str(database.async_url)), **options)
    report = Rekey(keyring, chunk=7, rate=None).run(Job.of(world.notes))
    assert report.ok and report.rows_changed == 30, report
    keyring.close()
    world.close()
