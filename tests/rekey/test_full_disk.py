"""A disk that fills up in the middle of a run: each database with its table on a small one of its own."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, event
from sqlalchemy.pool import Pool

from sqlalchemy_cmk import EncryptedType, RunInterrupted
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.rekey.conftest import add_people, fill
from tests.support.disks import enlarge, small_disk
from tests.support.world import World

ROWS = 2000
SEALED = EncryptedType(String(4000), context=("people", "long_"))
JOB = Job("people", (Move("plain", "long_", String(4000), SEALED),), tenant_column="owner")
FULL = {
    "sqlite": "database or disk is full",
    "postgresql": "53100: could not extend file",
    "mariadb": "OperationalError 1114: The table 'people' is full",
}


@contextmanager
def few_pages(world: World) -> Iterator[Callable[[], None]]:
    """SQLite: databases have only so many pages, on whichever connection."""
    pages = world.raw("PRAGMA page_count")[0][0] + 100

    def limit(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Pool, "connect", limit)
    try:
        yield lambda: event.remove(Pool, "connect", limit)
    finally:
        if event.contains(Pool, "connect", limit):
            event.remove(Pool, "connect", limit)


@contextmanager
def small_tablespace(world: World) -> Iterator[Callable[[], None]]:
    """PostgreSQL: the table is in a tablespace on a disk of 6 MiB."""
    with small_disk(6, Path(world.raw("SHOW data_directory")[0][0])) as folder:
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"CREATE TABLESPACE {folder.name} LOCATION '{folder}'")
        world.execute(f"ALTER TABLE people SET TABLESPACE {folder.name}")
        try:
            yield partial(enlarge, folder)
        finally:
            world.execute("DROP TABLE people")
            with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"DROP TABLESPACE {folder.name}")


@contextmanager
def small_data_directory(world: World) -> Iterator[Callable[[], None]]:
    """MariaDB: the table's file is on a disk of 13 MiB."""
    with small_disk(13, Path(world.raw("SELECT @@datadir")[0][0])) as folder:
        (_, made), *_ = world.raw("SHOW CREATE TABLE people")
        world.execute("ALTER TABLE people RENAME TO people_before")
        world.execute(f"{made} DATA DIRECTORY = '{folder}'")
        world.execute("INSERT INTO people SELECT * FROM people_before")
        try:
            yield partial(enlarge, folder)
        finally:
            world.execute("DROP TABLE people")


SMALL: dict[str, Callable[[World], AbstractContextManager[Callable[[], None]]]] = {
    "sqlite": few_pages,
    "postgresql": small_tablespace,
    "mariadb": small_data_directory,
}


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(bare: World) -> None:
    table = add_people(bare, String(4000), long_=SEALED)
    rows = [{"id": n + 1, "owner": "acme", "plain": secrets.token_hex(800)} for n in range(ROWS)]
    fill(bare, table, rows)
    name = bare.engine.dialect.name
    with SMALL[name](bare) as make_room:
        with pytest.raises(RunInterrupted) as caught:
            Rekey(bare.keyring, chunk=100, rate=None).run(JOB)
        assert FULL[name] in str(caught.value) and not re.search("[0-9a-f]{40}", str(caught.value))
        done = bare.raw("SELECT count(*) FROM people WHERE long_ IS NOT NULL")[0][0]
        assert 0 < done < ROWS and done % 100 == 0
        make_room()
        report = Rekey(bare.keyring, chunk=100, rate=None).run(JOB)
        assert report.ok and report.rows_changed == ROWS and len(Rekey(bare.keyring).runs()) == 1
