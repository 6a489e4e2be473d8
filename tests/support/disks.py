"""Small file systems in memory, for servers whose disk fills up."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.skips import unavailable


@contextmanager
def small_disk(mebibytes: int, data: Path | None = None) -> Iterator[Path]:
    """Mount a file system, for the server whose data is in a folder if one is named."""
    if data is not None and not data.exists():
        unavailable("the server is on another machine")
    folder = Path(tempfile.mkdtemp(prefix="cmk_small_disk_"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.xfail("no file system can be mounted here")
    try:
        if data is not None:
            shutil.chown(folder, data.stat().st_uid, data.stat().st_gid)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def enlarge(disk: Path) -> None:
    """Give a disk more room."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


@contextmanager
def filled(disk: Path, room: int) -> Iterator[None]:
    """Leave so many bytes of a disk."""
    ballast, found = disk / "ballast", os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - room)
    try:
        yield
    finally:
        ballast.unlink()
