"""NSS softokn with a private database, through p11-kit's proxy: softokn refuses ``C_Initialize(NULL)``."""

import ctypes
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.hsm import PIN, TokenSoftwareMissing, library
from tests.support.hsm.owner import run_as_owner

LABEL = "NSS Certificate DB"
DATABASES = ("key4.db", "cert9.db")

# p11-kit keeps the pointers, not the text.
_kept: list[object] = []


class Nss:
    """NSS's token; p11-kit reads where it is when it is initialized, for the whole process.

    Args:
        folder: an empty folder, or that of another process.
    """

    profile = "generic"
    pin = PIN

    def __init__(self, folder: Path) -> None:
        self.module, softokn = library("p11-kit-proxy.so"), library("libsoftokn3.so")
        if not self.module or not softokn:
            raise TokenSoftwareMissing("NSS or p11-kit is not installed: Debian's libnss3 and p11-kit")
        self.folder = folder
        new = not (folder / "modules").exists()
        if new:
            (folder / "database").mkdir()
            (folder / "modules").mkdir()
            reserved = f"configdir='sql:{folder / 'database'}' certPrefix='' keyPrefix='' secmod='secmod.db'"
            text = f"module: {softokn}\nx-init-reserved: {reserved} flags=\n"
            (folder / "modules" / "nss.module").write_text(text)
        self._point_p11_kit_here()
        if new:
            self.owner("", "set-pin", "")

    def uri(self, label: str, name: str) -> str:
        return f"pkcs11:token={LABEL.replace(' ', '%20')};object={name}"

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """What the token's owner does from a process of their own."""
        return run_as_owner(f"nss:{self.folder}", LABEL, what, name, *more)

    def back_up(self, label: str, place: Path) -> None:
        """Copy the databases away."""
        place.mkdir()
        for name in DATABASES:
            copy_database(self.folder / "database" / name, place / name)

    def restore(self, label: str, place: Path) -> None:
        """Put back what they held."""
        for name in DATABASES:
            copy_database(place / name, self.folder / "database" / name)

    def _point_p11_kit_here(self) -> None:
        """Have p11-kit read this folder alone; a user's own configuration is not read for root."""
        library = ctypes.CDLL(self.module)
        nothing, modules = (
            ctypes.create_string_buffer(str(self.folder / name).encode()) for name in ("none", "modules")
        )
        _kept.extend((library, nothing, modules))
        library.p11_kit_override_system_files(nothing, None, nothing, modules, None)


def copy_database(source: Path, target: Path) -> None:
    """Make one SQLite database hold what another one holds."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
