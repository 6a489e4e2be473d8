"""Connections of asyncpg and aiosqlite keep their interface, but for what is sealed, opened and refused."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pytest
from sqlalchemy import insert

from sqlalchemy_cmk import ConfigurationError, TenantRequired, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.databases.sql_text import ASYNC_DRIVERS
from sqlalchemy_cmk.dbapi import wrap, wrap_async
from sqlalchemy_cmk.dbapi.lent import driver_of
from sqlalchemy_cmk.hooks.fetch import AT_ONCE
from tests.conftest import empty_database
from tests.dbapi.conftest import Clinic
from tests.dbapi.drivers import connected
from tests.support.vault import Vault

COUNT = 2 * AT_ONCE + 7
SELECT = "SELECT id, clinic, ssn FROM patients ORDER BY id"
PLAIN = "SELECT id, clinic, title FROM patients ORDER BY id"


def fill(clinic: Clinic) -> None:
    rows = [{"id": i, "clinic": "acme", "ssn": str(i), "title": str(i)} for i in range(COUNT)]
    with clinic.vault.engine.begin() as connection:
        connection.execute(insert(clinic.Patient), rows)


@pytest.fixture
async def lite(make_vault: Callable[..., Vault]) -> AsyncIterator[Any]:
    clinic = Clinic(make_vault())
    fill(clinic)
    async with await connected(clinic.vault, "aiosqlite") as connection:
        yield connection


async def fetched(cursor: Any) -> list[Any]:
    """Rows as every way of fetching gives them."""
    found: list[Any] = [await cursor.fetchone(), *await cursor.fetchmany(3)]
    cursor.arraysize = 2
    found += await cursor.fetchmany()
    found += await cursor.fetchmany(AT_ONCE)
    found += await cursor.fetchall()
    assert await cursor.fetchone() is None
    assert list(await cursor.fetchmany(2)) == [] == list(await cursor.fetchall())
    return found


async def test_a_cursor_of_aiosqlite_fetches_as_the_drivers_own(lite: Any) -> None:
    async with lite.execute(SELECT) as cursor, lite._raw.execute(PLAIN) as raw:
        assert await fetched(cursor) == await fetched(raw)
        assert cursor.rowcount == raw.rowcount
        assert [one[0] for one in cursor.description] == ["id", "clinic", "ssn"]
        assert cursor.connection is lite
    cursor = await lite.execute(SELECT)
    assert [row async for row in cursor] == await lite.execute_fetchall(PLAIN)
    await cursor.close()


async def test_a_connection_of_aiosqlite_commits_and_rolls_back(lite: Any) -> None:
    row = ("globex", "x")
    written = await lite.execute_insert("INSERT INTO patients (id, clinic, ssn) VALUES (-1, ?, ?)", row)
    assert written == (-1,) and lite.in_transaction
    await lite.rollback()
    assert not lite.in_transaction
    with tenant_scope("globex"):
        assert await lite.execute_fetchall("SELECT ssn FROM patients WHERE id = -1") == []
    many = await lite.executemany("INSERT INTO places (id, name) VALUES (?, ?)", [(1, "a"), (2, "b")])
    assert many.rowcount == 2
    await lite.commit()
    assert await lite.execute_fetchall("SELECT name FROM places") == [("a",), ("b",)]


async def test_what_aiosqlite_would_pass_unsealed_is_refused(lite: Any) -> None:
    with pytest.raises(UnsupportedOperation):
        await lite.executescript("SELECT 1")
    cursor = await lite.cursor()
    for name in ("iterdump", "backup"):
        with pytest.raises(UnsupportedOperation):
            getattr(lite, name)
    with pytest.raises(UnsupportedOperation):
        cursor.executescript("SELECT 1")
    assert cursor.connection is lite
    with pytest.raises(UnsupportedOperation, match="str"):
        await lite.execute(b"SELECT 1")
    lite.row_factory = aiosqlite.Row
    with pytest.raises(UnsupportedOperation, match="row_factory"):
        await lite.execute_fetchall(SELECT)


@pytest.fixture(params=["postgresql"])
def vault_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Vault]:
    for database in empty_database(request):
        vault = Vault(database.url, tmp_path)
        fill(Clinic(vault))
        yield vault
        vault.close()


@pytest.fixture
async def pg(vault_of: Vault) -> AsyncIterator[Any]:
    connection = await connected(vault_of, "asyncpg")
    yield connection
    await connection.close()


async def test_rows_of_asyncpg_are_used_as_its_records(pg: Any) -> None:
    wrapped = await pg.fetch(SELECT)
    raw = await pg._raw.fetch(PLAIN.replace("title", "title AS ssn"))
    assert [tuple(row) for row in wrapped] == [tuple(row) for row in raw]
    ours, theirs = wrapped[3], raw[3]
    for use in (
        len,
        list,
        dict,
        hash,
        lambda one: one["ssn"],
        lambda one: one[2],
        lambda one: one[:2],
        lambda one: one.get("ssn"),
        lambda one: one.get("none", 7),
        lambda one: list(one.keys()),
        lambda one: list(one.values()),
        lambda one: list(one.items()),
        lambda one: "ssn" in one,
        lambda one: "3" in one,
        lambda one: one == (3, "acme", "3"),
        lambda one: one == [3, "acme", "3"],
    ):
        assert use(ours) == use(theirs)
    for wrong in ("none", 3):
        for one in (ours, theirs):
            with pytest.raises(KeyError if wrong == "none" else IndexError):
                one[wrong]
    assert ours == wrapped[3] != wrapped[4]
    assert "acme" not in repr(ours)


async def test_every_way_of_asyncpg_to_fetch_opens(pg: Any) -> None:
    expected = [(i, "acme", str(i)) for i in range(COUNT)]
    by_id = "SELECT id, clinic, ssn FROM patients WHERE id >= $1 ORDER BY id"
    one = "SELECT clinic, ssn FROM patients WHERE id = $1"
    assert await pg.fetchrow(one, 5) == ("acme", "5")
    assert await pg.fetchrow(one, -5) is await pg.fetchval(one, -5) is None
    assert await pg.fetchval(one, 5, column=1) == "5"
    assert [row[1] for row in await pg.fetchmany(one, [(1,), (2,)])] == ["1", "2"]
    assert [row[0] for row in await pg.fetchmany("SELECT $1::int", [(1,), (2,)])] == [1, 2]
    prepared = await pg.prepare(by_id)
    assert await prepared.fetch(COUNT - 2) == expected[-2:]
    assert await prepared.fetchval(5, column=2) == "5"
    assert [row[0] for row in await prepared.fetchmany([(COUNT - 1,), (COUNT - 2,)])] == [
        COUNT - 1,
        COUNT - 2,
        COUNT - 1,
    ]
    assert prepared.get_query() == by_id and prepared.get_statusmsg() == "SELECT 2"
    assert [one.name for one in prepared.get_attributes()] == ["id", "clinic", "ssn"]
    async with pg.transaction():
        for source in (pg.cursor(by_id, 0), prepared.cursor(0), pg.cursor(by_id, 0, prefetch=100)):
            assert [row async for row in source] == expected
        cursor = await pg.cursor(by_id, 0)
        assert await cursor.fetchrow() == expected[0]
        assert await cursor.forward(2) == 2
        assert await cursor.fetch(2) == expected[3:5]
        assert [row["name"] async for row in pg.cursor("SELECT name FROM places")] == []
    with pytest.raises(TenantRequired):
        await pg.fetchval("SELECT ssn FROM patients")


async def test_prepared_statements_of_asyncpg_seal(pg: Any) -> None:
    update = await pg.prepare("UPDATE patients SET ssn = $1 WHERE id = $2 RETURNING ssn, clinic")
    assert await update.fetchval("new", 1) == "new"
    await update.executemany([("x", 1), ("y", 2)])
    insert_ = await pg.prepare("INSERT INTO patients (id, clinic, ssn) VALUES ($1, $2, $3)")
    await insert_.executemany([(-1, "acme", "a"), (-2, "globex", "b")])
    await pg.executemany("UPDATE patients SET ssn = $1 WHERE id = $2", [("c", -1)])
    found = await pg.fetch("SELECT id, ssn, clinic FROM patients WHERE id < 3 ORDER BY id")
    assert [row[1] for row in found] == ["b", "c", "0", "x", "y"]
    assert all(isinstance(row[0], bytes) for row in await pg._raw.fetch("SELECT ssn FROM patients"))


async def test_what_asyncpg_would_pass_unsealed_is_refused(pg: Any) -> None:
    for work in (
        pg.copy_records_to_table("patients", records=[(9, "acme", "plain", None, None)]),
        pg.copy_to_table("patients", source=None),
        pg.copy_from_table("patients", output=None),
        pg.copy_from_query("SELECT ssn FROM patients", output=None),
        pg.fetch(SELECT, record_class=asyncpg.Record),
        pg.execute("INSERT INTO places (id) VALUES (1); DELETE FROM patients"),
    ):
        with pytest.raises(UnsupportedOperation):
            await work
    with pytest.raises(UnsupportedOperation):
        await (await pg.prepare(SELECT)).explain()
    with pytest.raises(UnsupportedOperation):
        _ = pg._protocol
    await pg.copy_records_to_table("places", records=[(1, "here")])
    assert await pg.fetchval("SELECT name FROM places") == "here"


async def test_a_pools_connection_keeps_its_own_ways_to_read(pg: Any, vault_of: Any) -> None:
    url = vault_of.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def own(raw: Any) -> None:
        await raw.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=lambda _: "own")

    async with asyncpg.create_pool(url, min_size=1, max_size=1, init=own) as pool:
        async with pool.acquire() as raw:
            wrapped = await wrap_async(raw, vault_of.keyring, vault_of.base)
            assert await wrapped.fetchval("SELECT '{}'::jsonb") == "own"
            assert not wrapped.is_in_transaction()
            assert await wrapped.fetchval("SELECT clinic, ssn FROM patients WHERE id = 5", column=1) == "5"
        async with pool.acquire() as raw:
            assert await raw.fetchval("SELECT '{}'::jsonb") == "own"


async def test_each_kind_of_connection_has_its_own_way_to_be_wrapped(
    lite: Any, pg: Any, vault_of: Vault
) -> None:
    given = vault_of.keyring, vault_of.base
    with pytest.raises(ConfigurationError, match="wrap_async"):
        wrap(lite._raw, *given)
    with pytest.raises(ConfigurationError, match="wrap"):
        await wrap_async(vault_of.engine.raw_connection(), *given)
    url = vault_of.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url) as raw:
        for work in (lambda: wrap(raw, *given), lambda: driver_of(raw, ASYNC_DRIVERS)):
            with pytest.raises(ConfigurationError, match="cannot be wrapped"):
                work()
