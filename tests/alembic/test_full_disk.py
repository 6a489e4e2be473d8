"""A disk that fills up while columns change places: nothing has changed, and the migration goes on later."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import String, insert

from sqlalchemy_cmk import RunInterrupted
from tests.alembic.adopting import TENANTS, Adoption, adoption
from tests.support.databases import Database, server_database
from tests.support.disks import filled, small_disk
from tests.support.servers import ServerNotInstalled, start_mariadb
from tests.support.skips import unavailable

ROOM = 2**21


def test_a_swap_that_finds_no_room_leaves_the_column_and_is_done_when_there_is(tmp_path: Path) -> None:
    """MariaDB writes the whole table again to make a column NOT NULL."""
    with small_disk(600) as disk:
        try:
            server = start_mariadb(disk / "server")
        except ServerNotInstalled as error:
            unavailable(str(error))
        try:
            with (
                server_database("mariadb", server.url) as database,
                adoption(database.url, tmp_path, plain=String(4000), nullable=False) as adopted,
            ):
                adopted.create()
                fails_and_is_done(adopted, disk, 2000)
        finally:
            server.stop()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.drivers("sync")
def test_an_index_that_finds_no_room_is_made_when_there_is(database: Database, tmp_path: Path) -> None:
    """PostgreSQL makes the column's index again, where the old one was."""
    with (
        adoption(database.url, tmp_path, plain=String(1600), deterministic=True) as adopted,
        small_tablespace(adopted) as disk,
    ):
        adopted.create()
        adopted.run(f"CREATE UNIQUE INDEX numbers ON patients (ssn) TABLESPACE {disk.name}")
        fails_and_is_done(adopted, disk, 1200)


def fails_and_is_done(adopted: Adoption, disk: Path, rows: int) -> None:
    """Swap on a full disk, see that nothing has changed, and swap when there is room."""
    values = [
        {"id": n, "clinic_id": TENANTS[n % 2], "ssn": secrets.token_hex(800)} for n in range(1, rows + 1)
    ]
    with adopted.engine.begin() as connection:
        connection.execute(insert(adopted.plain_table), values)
    before = adopted.stored()
    adopted.seal(phase="expand")
    adopted.seal(phase="copy")
    with filled(disk, ROOM), pytest.raises(RunInterrupted, match=FULL):
        adopted.seal(phase="swap")
    assert adopted.stored() == before
    adopted.run(f"UPDATE patients SET ssn = '{secrets.token_hex(800)}' WHERE id = 1")
    before = adopted.stored()
    adopted.seal(phase="swap")
    assert adopted.opened() == before


FULL = r"(is full|could not extend|No space left).*run the migration again"


@contextmanager
def small_tablespace(adopted: Adoption) -> Iterator[Path]:
    """A tablespace of PostgreSQL on a disk of its own; the table goes before it."""
    with adopted.engine.connect() as connection:
        data = Path(str(connection.exec_driver_sql("SHOW data_directory").scalar_one()))
    with small_disk(16, data) as folder:
        adopted.run(f"CREATE TABLESPACE {folder.name} LOCATION '{folder}'")
        try:
            yield folder
        finally:
            adopted.run("DROP TABLE patients", f"DROP TABLESPACE {folder.name}")
