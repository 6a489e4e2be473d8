"""New files that their owner alone can read: hashed while they are written, on disk at the end, read back."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers._files import check_folder, sync_folder

_READ = 1024 * 1024


class NewFile:
    """A new file. Unless :meth:`end` was called it is removed at the end of its ``with`` block.

    Args:
        path: the file, which must not be there yet.

    Raises:
        ConfigurationError: it is there, or others may replace files in its folder.
        KeyUnavailable: the system refuses to write it, here and in each method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hash = sha256()
        self._whole = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            check_folder(path.parent)
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
            return
        except FileExistsError:
            failure: Exception = ConfigurationError(f"{path} is there already: name another")
        except OSError as error:
            failure = _unwritable(path, error)
        raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._whole:
            self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._hash.update(data)
        try:
            self._file.write(data)
            return
        except OSError as error:
            failure = _unwritable(self.path, error)
        raise failure

    def end(self) -> str:
        """Have the file be on disk, and return the SHA-256 of what was written, in hexadecimal."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            sync_folder(self.path.parent)
            self._whole = True
            return self._hash.hexdigest()
        except OSError as error:
            failure = _unwritable(self.path, error)
        raise failure


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, read back, in hexadecimal; empty where it cannot be read."""
    found = sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(_READ):
                found.update(part)
    except OSError:
        return ""
    return found.hexdigest()


def _unwritable(path: Path, error: OSError) -> KeyUnavailable:
    return KeyUnavailable(f"{path} cannot be written: {error.strerror}; run the same again when it can")
