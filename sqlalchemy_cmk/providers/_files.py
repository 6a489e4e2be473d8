"""Private files: read and written so that nobody else can read them and none is left half written."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> bytes | None:
    """Return a file's bytes, or ``None`` where there is no file.

    Raises:
        ConfigurationError: group or others have access to it.
        KeyUnavailable: the system does not let it be read.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise ConfigurationError(
                    f"{path} can be reached by others (mode {stat.S_IMODE(mode):04o}): "
                    f"run chmod 600 {path}, and rotate its KEKs if others may have read it"
                )
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnavailable(f"the key file {path} cannot be read: {error.strerror}") from error


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by new content in one step, mode 0600, on disk before it takes the name."""
    temporary = ""
    try:
        handle, temporary = mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise KeyUnavailable(f"the key file {path} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Let one process at a time change the file; the lock is a file of its own beside it."""
    try:
        handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyUnavailable(f"the key file {path} cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
