"""What the history is run on: the database, and the keyring of two clinics, one with a KEK of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url

from examples.history.models import Base
from sqlalchemy_cmk import KeyRevoked, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider

INI = Path(__file__).parents[2] / "alembic.ini"
PLATFORM_KEY = "local:pmk"
OWN_KEYS = {"hillside": "local:hillside"}


class Storage:
    """The database and the keyring of one data folder; ``url`` names a database elsewhere, by any driver."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        address = make_url(url or f"sqlite:///{folder / 'history.db'}")
        if address.get_dialect().is_async:
            from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet

            # For migrations, each of which has an event loop of its own: no connection may outlive it.
            self.engine: Any = create_async_engine(address, poolclass=NullPool)
        else:
            self.engine = create_engine(address)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(
            self.engine, platform_key=PLATFORM_KEY, providers=[self.provider], revalidate_after=60
        )
        self.keyring.protect(Base)

    @classmethod
    def from_environment(cls) -> Storage:
        """Return that of ``$HISTORY_DATA`` (or ``.demo/history``) and the URL in ``$HISTORY_DATABASE``."""
        folder = Path(os.environ.get("HISTORY_DATA", ".demo/history"))
        return cls(folder, os.environ.get("HISTORY_DATABASE"))

    def close(self) -> None:
        self.keyring.close()
        getattr(self.engine, "sync_engine", self.engine).dispose()

    def switch(self, clinic: str, on: bool) -> None:
        """Switch a clinic's own KEK off or on, as its owner would do in their vault."""
        change = self.provider.enable if on else self.provider.disable
        change(OWN_KEYS[clinic])
        self.keyring.forget(clinic)
        with suppress(KeyRevoked):  # the key tables note it, for everybody to see
            self.keyring.warm([clinic])
