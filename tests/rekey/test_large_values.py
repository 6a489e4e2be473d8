"""Large values: memory is bounded by the largest, statements by what the server takes, and nothing is cut."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Table, Text
from sqlalchemy.dialects.mysql import LONGTEXT

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.alembic.sampling import Content, sample
from sqlalchemy_cmk.rekey import Job, Rekey, count_rows, reading
from tests.keys.processes import apart
from tests.rekey.conftest import add_people, at_write, fill, opening, sealing, values
from tests.support.world import World

LONG = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
ROWS = 12
MANY_BYTES = 3_500_000  # what a statement of MariaDB's default size takes as it was and as it will be
MIB = 2**20
# What was read ahead, is read, and is written, in a few forms each: far less than all rows at once.
MOST = 100 * MIB
SEAL = Job("people", (sealing("plain", "secret", Text()),), tenant_column="owner")
OPEN = Job("people", (opening("secret", "again", Text()),), tenant_column="owner")


def add_documents(world: World) -> Table:
    return add_people(world, LONG, secret=EncryptedType(Text()))


def re_encrypt(world: World, people: Table) -> None:
    world.keyring.lifecycle.rotate_dek("acme")
    assert Rekey(world.keyring, rate=None).run(Job.of(people, ("secret",))).rows_changed == ROWS


def seal(world: World, _: Table) -> None:
    assert Rekey(world.keyring, rate=None).run(SEAL).rows_changed == ROWS


def open_for_good(world: World, _: Table) -> None:
    assert Rekey(world.keyring, rate=None).run(OPEN).rows_changed == ROWS


def verify_and_count(world: World, people: Table) -> None:
    assert Rekey(world.keyring).verify(SEAL).rows_read == ROWS
    deks = world.keyring.dek_states()
    with world.engine.connect() as connection:
        assert count_rows(connection, people, ["secret"], deks)["secret"].sealed == ROWS
        held = sample(connection, world.keyring.database.tables.deks, "people", "secret", None)
    assert held is Content.SEALED


def grown(url: str, folder: Path, work: Callable[[World, Table], None]) -> int:
    """How many bytes a process grows by, at its most."""
    world = World(url, folder, revalidate_after=0)
    people = add_documents(world)
    world.keyring.warm(["acme"], new=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(world, people)
    world.close()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_memory_is_bounded_by_the_largest_value_and_not_by_a_batch_of_them(server_world: World) -> None:
    people = add_documents(server_world)
    for n in range(ROWS):
        fill(server_world, people, [{"id": n + 1, "owner": "acme", "plain": "x" * MANY_BYTES}])
    place = server_world.url, server_world.folder
    used = {work.__name__: apart(grown, *place, work) for work in (seal, re_encrypt, verify_and_count)}
    used["open_for_good"] = apart(grown, *place, open_for_good)
    assert max(used.values()) < MOST, {name: f"{size / MIB:.0f} MiB" for name, size in used.items()}


def test_only_as_many_rows_are_read_at_once_as_fit(bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 40_000)
    people = add_documents(bare)
    lengths = [10, 10, 100_000, 30_000, 9_000, 9_000, *[10] * 50, 39_000, 10]
    texts = [str(n) + "x" * length for n, length in enumerate(lengths)]
    fill(bare, people, [{"id": n + 1, "owner": "acme", "plain": one} for n, one in enumerate(texts)])
    with at_write(0, lambda: None) as batches:
        assert Rekey(bare.keyring, rate=None).run(SEAL).rows_changed == len(texts)
    # Two short ones; the longest alone; 39 kB; two times what is under the share of a batch; the last two.
    assert len(batches) == 6
    assert values(bare, people.c.secret) == texts


def test_a_value_that_grows_meanwhile_is_not_read_with_many_others(
    bare: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 40_000)
    people = add_documents(bare)
    fill(bare, people, [{"id": n + 1, "owner": "acme", "plain": "x" * 5_000} for n in range(20)])
    grow = "UPDATE people SET plain = '{}' WHERE id = 20".format("y" * 50_000)
    with at_write(0, lambda: bare.execute(grow) if bare.engine.dialect.name != "sqlite" else None):
        report = Rekey(bare.keyring, rate=None).run(SEAL)
    assert report.ok
    assert values(bare, people.c.secret) == values(bare, people.c.plain)


@pytest.mark.parametrize("length", [65_490, 65_510, 65_536, 200_000])
def test_no_value_is_cut_whatever_its_length(length: int, bare: World) -> None:
    """MariaDB cuts literals of bytes in VALUES down to their length modulo 65,536."""
    people = add_documents(bare)
    texts = ["short", "x" * length, "y" * length]
    fill(bare, people, [{"id": n + 1, "owner": "acme", "plain": one} for n, one in enumerate(texts)])
    assert Rekey(bare.keyring, rate=None).run(SEAL).rows_changed == 3
    bare.keyring.lifecycle.rotate_dek("acme")
    assert Rekey(bare.keyring, rate=None).run(Job.of(people, ("secret",))).rows_changed == 3
    assert values(bare, people.c.secret) == texts


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_value_that_no_statement_takes_is_refused_by_name_before_anything(bare: World) -> None:
    people = add_documents(bare)
    fill(bare, people, [{"id": n + 1, "owner": "acme", "plain": "short"} for n in range(3)])
    fill(bare, people, [{"id": 70, "owner": "acme", "plain": "x" * 5_000_000}])
    with pytest.raises(
        ConfigurationError, match=r"key \[70\] holds 5000000 bytes in plain.*max_allowed_packet"
    ):
        Rekey(bare.keyring).run(SEAL)
    assert bare.raw("SELECT count(*) FROM people WHERE secret IS NOT NULL") == [(0,)]
    assert Rekey(bare.keyring).runs() == []


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_value_that_became_too_long_meanwhile_is_listed_and_the_others_are_done(bare: World) -> None:
    people = add_documents(bare)
    fill(bare, people, [{"id": n + 1, "owner": "acme", "plain": "short"} for n in range(30)])
    grow = "UPDATE people SET plain = repeat('x', 5000000) WHERE id = 30"
    with at_write(0, lambda: bare.execute(grow)):
        report = Rekey(bare.keyring, chunk=5, rate=None).run(SEAL)
    assert report.rows_changed == 29 and [one.key for one in report.damaged] == ["[30]"]
    assert "max_allowed_packet" in report.damaged[0].reason
