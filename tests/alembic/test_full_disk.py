"""A disk that fills up while columns change places: nothing has changed, and the migration goes on later."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import String, insert

from sqlalchemy_cmk import RunInterrupted
from tests.alembic.adopting import TENANTS, adoption
from tests.support.databases import server_database
from tests.support.servers import ServerNotInstalled, start_mariadb
from tests.support.skips import unavailable

ROWS = 2000
ROOM = 2**21


@contextmanager
def own_disk(size: str) -> Iterator[Path]:
    """A file system in memory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="cmk_small_disk_"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.xfail("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave two megabytes of a disk."""
    ballast, room = disk / "ballast", os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - ROOM)
    try:
        yield
    finally:
        ballast.unlink()


def test_a_swap_that_finds_no_room_leaves_the_column_and_is_done_when_there_is(tmp_path: Path) -> None:
    """MariaDB writes the whole table anew to make a column NOT NULL."""
    with own_disk("600m") as disk:
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
                numbers = range(1, ROWS + 1)
                rows = [
                    {"id": n, "clinic_id": TENANTS[n % 2], "ssn": secrets.token_hex(800)} for n in numbers
                ]
                with adopted.engine.begin() as connection:
                    connection.execute(insert(adopted.plain_table), rows)
                before = adopted.stored()
                adopted.seal(phase="expand")
                adopted.seal(phase="copy")
                with filled(disk), pytest.raises(RunInterrupted, match=r"is full.*run the migration again"):
                    adopted.seal(phase="swap")
                assert adopted.stored() == before
                adopted.seal(phase="swap")
                assert adopted.opened() == before
        finally:
            server.stop()
