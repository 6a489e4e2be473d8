"""Private files: read and written so that nobody else can read them and none is left half written."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.forks import watch_forks

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path, kind: str = "the key file", remedy: str = "rotate its KEKs") -> bytes | None:
    """Return a file's bytes, or ``None`` where there is no file.

    Args:
        path: the file.
        kind: what it is, for messages.
        remedy: what to do if others have read it.

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
                    f"run chmod 600 {path}, and {remedy} if others may have read it"
                )
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnavailable(f"{kind} {path} cannot be read: {error.strerror}") from error


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
    """Let one thread of one process at a time change the file; the lock is a file of its own beside it.

    The lock is POSIX's: a forked child does not inherit it, and so cannot hold it up.
    """
    with _threads.lock, _process_lock(path):
        yield


class _Threads:
    """The lock between the threads of this process, another one in a forked child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        watch_forks(self)

    def after_fork(self) -> None:
        """Another thread may have held the lock when the process was copied."""
        self.lock = threading.Lock()


_threads = _Threads()


@contextmanager
def _process_lock(path: Path) -> Iterator[None]:
    try:
        handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyUnavailable(f"the key file {path} cannot be locked: {error.strerror}") from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
