"""The folder of an offboarding: its exported files, its certificate, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from sqlalchemy_cmk.certificates.document import CertifiedFile, Observed
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.offboarding.files import digest_of
from sqlalchemy_cmk.providers._files import check_folder, read_private, write_private
from sqlalchemy_cmk.runtime.secret import Secret

PROGRESS = "offboarding.json"
CERTIFICATE = "certificate.json"
CLEAR, SEALED = ".jsonl", ".jsonl.sealed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an offboarding has come.

    Attributes:
        tenant: the tenant's name.
        before: how it stood before.
        files: the exported files, once all of them are whole and were read back; ``None`` before.
    """

    tenant: str
    before: Observed
    files: tuple[CertifiedFile, ...] | None = None


class Folder:
    """The folder of one tenant's offboarding.

    Args:
        path: the folder: a new one, or that of an offboarding that was stopped.
        tenant: the tenant's name.

    Raises:
        ConfigurationError: it is there, and is not this tenant's offboarding.
    """

    def __init__(self, path: Path, tenant: str) -> None:
        self.path = path
        self._tenant = tenant
        if path.exists() and self.progress() is None and (not path.is_dir() or any(path.iterdir())):
            raise ConfigurationError(
                f"{path} is there already, and no offboarding of {tenant!r} began in it: name a new folder"
            )

    @property
    def certificate(self) -> Path:
        """Where the certificate is written."""
        return self.path / CERTIFICATE

    def progress(self) -> Progress | None:
        """Return how far the offboarding has come; ``None`` where it has not begun.

        Raises:
            ConfigurationError: the folder is another tenant's, or what it says cannot be read.
        """
        if not self.path.is_dir():
            return None
        found = read_private(self.path / PROGRESS, "the offboarding's progress", "begin in a new folder")
        if found is None:
            return None
        try:
            read = msgspec.json.decode(found.reveal(), type=Progress)
        except msgspec.MsgspecError:
            read = None
        if read is None or read.tenant != self._tenant:
            raise ConfigurationError(
                f"{self.path} is the folder of another offboarding: name a new folder for {self._tenant!r}"
            )
        return read

    def begin(self, before: Observed) -> None:
        """Make the folder, and note how the tenant stood; an export that was stopped is removed."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            check_folder(self.path)
            self._clear()
            return self.note(Progress(self._tenant, before))
        except OSError as error:
            problem = error.strerror
        raise ConfigurationError(
            f"{self.path} cannot be made: {problem}; name a new folder in one that is there"
        )

    def note(self, progress: Progress) -> None:
        """Write down how far it has come; it is on disk when this returns."""
        write_private(self.path / PROGRESS, Secret(msgspec.json.encode(asdict(progress))), "the progress")

    @contextmanager
    def kept_when_whole(self) -> Iterator[None]:
        """Remove the exported files where a block that writes them fails: rows in the clear do not stay."""
        whole = False
        try:
            yield
            whole = True
        finally:
            if not whole:
                self._clear()

    def check(self, files: tuple[CertifiedFile, ...]) -> None:
        """Read the exported files back.

        Raises:
            ConfigurationError: one is not as it was written.
        """
        for one in files:
            if digest_of(self.path / one.name) != one.sha256:
                raise ConfigurationError(
                    f"{self.path / one.name} is not as it was exported: it was altered or lost"
                )

    def file_of(self, table: str, *, sealed: bool) -> Path:
        """Return where a table's rows are written."""
        return self.path / f"{quote(table, safe='')}{SEALED if sealed else CLEAR}"

    def _clear(self) -> None:
        for file in self.path.iterdir():
            if file.name.endswith((CLEAR, SEALED)):
                file.unlink()
