"""Private files: readable by their owner only, and never left half written."""

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
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.secret import Secret

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0
_MAX_LINKS = 8
_ATTEMPTS = 3


def read_private(path: Path, kind: str = "the key file", remedy: str = "rotate its KEKs") -> Secret | None:
    """Return a file's bytes, or ``None`` if there is no file.

    A symbolic link is followed if it is ours or root's, as Kubernetes mounts secrets.

    Args:
        path: the file.
        kind: what the file is, for messages.
        remedy: what to do if others have read it, for messages.

    Raises:
        ConfigurationError: others have access to it, it or a link to it belongs to another user, or others
            may put another file into its folder.
        KeyUnavailable: the system refuses to read it.
    """
    try:
        return _read(path, kind, remedy)
    except FileNotFoundError:
        return None
    except OSError as error:
        failure = KeyUnavailable(f"{kind} {path} cannot be read: {error.strerror}")
    raise failure


def _read(path: Path, kind: str, remedy: str) -> Secret:
    for attempt in range(_ATTEMPTS):
        try:
            # Not blocking, so that a named pipe in its place does not hold up the reader.
            handle = os.open(_target(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            break
        except FileNotFoundError:
            # A mounted secret is renewed by turning a link: its old target has just gone.
            if attempt + 1 == _ATTEMPTS or not path.is_symlink():
                raise
    with open(handle, "rb") as file:
        found = os.fstat(file.fileno())
        _check_owner(found, path)
        if found.st_mode & _OTHERS:
            raise ConfigurationError(
                f"others have access to {path} (mode {stat.S_IMODE(found.st_mode):04o}): "
                f"run chmod 600 {path}, and {remedy} if others may have read it"
            )
        if not stat.S_ISREG(found.st_mode):
            raise KeyUnavailable(f"{kind} {path} cannot be read: it is not a file")
        return Secret(file.read())


def _target(path: Path) -> Path:
    """Return the file that a path names, through links and folders into which no other user can put one."""
    for _ in range(_MAX_LINKS):
        check_folder(path.parent)
        if not path.is_symlink():
            return path
        _check_owner(path.lstat(), path)
        path = path.parent / path.readlink()
    raise ConfigurationError(f"{path} is a symbolic link to a link, and so on: name the file itself")


def check_folder(folder: Path) -> None:
    """Refuse a folder into which other users may put files of ours.

    Raises:
        ConfigurationError: it is another user's, or everybody may write to it and it has no sticky bit.
    """
    found = folder.stat()
    _check_owner(found, folder)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"everybody may replace files in {folder} (mode {stat.S_IMODE(found.st_mode):04o}): "
            f"run chmod o-w {folder}"
        )


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (_ROOT, os.geteuid()):
        raise ConfigurationError(
            f"{path} belongs to user {found.st_uid}, who may change it: run chown {os.geteuid()} {path}, "
            "or run this as its owner"
        )


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise ConfigurationError(
            f"{path} is a symbolic link, which is read and not written: change the file it points to by its "
            "own path, or its secret where it is mounted from"
        )


def write_private(path: Path, content: Secret, kind: str = "the key file") -> None:
    """Replace a file atomically, with mode 0600; the content is on disk before it takes the name.

    Raises:
        ConfigurationError: it is a symbolic link, or others may replace files in its folder.
        KeyUnavailable: the system refuses to write it.
    """
    temporary = ""
    try:
        _refuse_link(path)
        check_folder(path.parent)
        handle, temporary = mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise KeyUnavailable(f"{kind} {path} cannot be written: {error.strerror}") from error


def create_private(path: Path, content: Secret, kind: str = "the key file") -> None:
    """Write a new file with mode 0600; it is on disk when this returns.

    Args:
        path: the file.
        content: its bytes.
        kind: what the file is, for messages.

    Raises:
        ConfigurationError: there is such a file, or others may replace files in its folder.
        KeyUnavailable: the system refuses to write it.
    """
    try:
        check_folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError:
        failure: Exception = ConfigurationError(
            f"{path} is there already, and is left as it is: name another"
        )
    except OSError as error:
        failure = KeyUnavailable(f"{kind} {path} cannot be written: {error.strerror}")
    else:
        return
    raise failure


def sync_folder(folder: Path) -> None:
    """Have the names in a folder be on disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Let one thread of one process at a time change the file; the lock is a second file next to it.

    It is a POSIX lock: a forked child does not inherit it, and so cannot keep it held.

    Raises:
        ConfigurationError: the file or its lock is a symbolic link, or another user's.
        KeyUnavailable: the system refuses to lock it.
    """
    _refuse_link(path)
    with _threads.lock, _process_lock(path):
        yield


class _Threads:
    """The lock between the threads of this process; a forked child has a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        watch_forks(self)

    def after_fork(self) -> None:
        """Replace the lock: another thread may have held it when the process forked."""
        self.lock = threading.Lock()


_threads = _Threads()


@contextmanager
def _process_lock(path: Path) -> Iterator[None]:
    handle = _open_lock(path.with_name(f".{path.name}.lock"), path)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open_lock(lock: Path, path: Path) -> int:
    try:
        check_folder(lock.parent)
        _refuse_link(lock)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise KeyUnavailable(f"the key file {path} cannot be locked: {error.strerror}") from error
    try:
        found = os.fstat(handle)
        _check_owner(found, lock)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{lock} is not a file, as a lock has to be: remove it")
    except ConfigurationError:
        os.close(handle)
        raise
    return handle
