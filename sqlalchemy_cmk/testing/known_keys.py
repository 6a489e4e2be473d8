"""KEKs in memory that are the same in every process: a database that a test run has left opens in the next.

Anyone knows them, so they protect nothing. They are for tests alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256

from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.providers.local import Kek, KekVersion, KeyFile


class KnownKeys(LocalKeyProvider):
    """Has every KEK ``local:NAME``. What is disabled or rotated stays so as long as this object lives."""

    def __init__(self) -> None:
        super().__init__(os.devnull)
        self._keks: dict[str, Kek] = {}

    def __repr__(self) -> str:
        return "KnownKeys()"

    @staticmethod
    def known(name: str) -> bytes:
        """Return 32 bytes that anyone can work out from a name."""
        return sha256(f"sqlalchemy_cmk, known to anyone: {name}".encode()).digest()

    @property
    def _origin(self) -> str:
        return "the keys of tests"

    def record_key_file(self) -> None:
        """Return that there is none."""

    def _read(self) -> KeyFile:
        return KeyFile(keks=self._keks)

    def _holds(self, name: str) -> bool:
        return True

    def _find(self, keys: KeyFile, kek_uri: str) -> Kek:
        name = self._name(kek_uri)
        return keys.keks.setdefault(name, Kek([KekVersion("known", self.known(name))]))

    def _change(self, change: Callable[[KeyFile], object]) -> None:
        change(self._read())
