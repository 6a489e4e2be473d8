"""What many keys at once cost: a page of cold tenants, a flush and ``warm`` for new ones, and ``rewrap``.

The KEKs that are far away answer after so many milliseconds. Each is in a vault of its own, and a tenant's or
that of a hundred tenants. Only what is measured waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Integer, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.tenants.figure import Figure, Setting
from benchmarks.tenants.key_tables import make_tenants
from benchmarks.tenants.place import databases
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.providers.local import KeyFile
from sqlalchemy_cmk.runtime.secret import Secret

PAGE, NEW = 200, 1_000
AWAY, REWRAP_AWAY = 0.03, 0.02
# Tenants that share a KEK where many are rewrapped.
SHARE = 100
PAGE_TARGET, FLUSH_TARGET, WARM_TARGET, REWRAP_TARGET = 0.6, 1.2, 1.0, 40.0


class Base(DeclarativeBase):
    """The models of this benchmark."""


class Patient(Base):
    """A row with one sealed column."""

    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(40)))


class Distant(LocalKeyProvider):
    """KEKs in memory, each of which is a vault of its own that may be far away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seconds = 0.0
        self._in_memory: KeyFile | None = None

    def place_of(self, kek_uri: str) -> str:
        """Return the KEK: a vault of its own."""
        return kek_uri

    def calls_at_once(self, kek_uri: str) -> int:
        """Return as many as a vault takes."""
        return 8

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap, far away."""
        time.sleep(self.seconds)
        return super().wrap(kek_uri, dek)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Unwrap, far away."""
        time.sleep(self.seconds)
        return super().unwrap(wrapped)

    def newest_version(self, kek_uri: str) -> str:
        """Look it up, far away."""
        time.sleep(self.seconds)
        return super().newest_version(kek_uri)

    def keep(self) -> None:
        """Read the key file once, and not at each call: a vault has no such file."""
        self._in_memory = None
        self._in_memory = self._read()

    def _read(self) -> KeyFile:
        return self._in_memory or super()._read()


@contextmanager
def served(engine: Engine, folder: Path) -> Iterator[tuple[Keyring, Distant]]:
    """Serve an engine whose tables are empty."""
    provider = Distant(folder / "keys.json")
    with Keyring(engine, platform_key="local:pmk", providers=[provider]) as keyring:
        keyring.protect(Base)
        Base.metadata.create_all(engine)
        try:
            yield keyring, provider
        finally:
            keyring.close()
            Base.metadata.drop_all(engine)
            engine.dispose()


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _patients(names: list[str]) -> list[Patient]:
    return [Patient(clinic=name, ssn=f"of {name}") for name in names]


def page_and_flush(engine: Engine, folder: Path, tenants: int = PAGE) -> tuple[float, float]:
    """Return the seconds of a flush for tenants without DEKs, and of a page of cold ones."""
    names = [f"tenant {number}" for number in range(tenants)]
    with served(engine, folder) as (keyring, provider):
        keyring.warm([""])
        for name in names:
            keyring.assign(name, f"local:{name}")
        provider.keep()
        provider.seconds = AWAY
        with Session(engine) as session:
            session.add_all(_patients(names))
            flush = _seconds(session.flush)
            session.commit()
        keyring.forget()
        with Session(engine) as session:
            page = _seconds(lambda: session.scalars(select(Patient)).all())
            assert {one.ssn for one in session.scalars(select(Patient))} == {f"of {name}" for name in names}
    return page, flush


def warming(engine: Engine, folder: Path, tenants: int = NEW) -> float:
    """Return the seconds of ``warm`` for new tenants under a local KEK."""
    with Keyring(
        engine, platform_key="local:pmk", providers=[LocalKeyProvider(folder / "local.json")]
    ) as keyring:
        keyring.protect(Base)
        Base.metadata.create_all(engine)
        keyring.warm([""])
        seconds = _seconds(lambda: keyring.warm([f"new {number}" for number in range(tenants)], new=True))
        keyring.close()
        Base.metadata.drop_all(engine)
        engine.dispose()
    return seconds


def rewrapping(engine: Engine, folder: Path, tenants: int) -> float:
    """Return the seconds of a rewrap after all KEKs were rotated, of which each serves some tenants."""
    names = [f"tenant {number}" for number in range(tenants)]
    with served(engine, folder) as (keyring, provider):
        keyring.warm([""])
        keks = {name: f"local:kek {number // SHARE}" for number, name in enumerate(names)}
        for uri in dict.fromkeys(keks.values()):
            provider.ensure(uri)
        provider.keep()
        make_tenants(keyring, names, keks.__getitem__)
        for uri in dict.fromkeys(keks.values()):
            provider.rotate(uri)
        provider.keep()
        provider.seconds = REWRAP_AWAY
        seconds = _seconds(lambda: _rewrap(keyring, tenants))
    return seconds


def _rewrap(keyring: Keyring, tenants: int) -> None:
    report = keyring.lifecycle.rewrap()
    assert report.rewrapped == tenants, report.failed


def together(setting: Setting) -> Iterator[Figure]:
    """Measure each on SQLite, and what waits for the database on PostgreSQL too."""
    for name, database in databases(setting.folder):
        tenants = min(setting.tenants, NEW)
        page, flush = page_and_flush(create_engine(database.url), setting.folder, min(PAGE, tenants))
        yield Figure(
            f"page of {min(PAGE, tenants)} cold tenants, KEKs 30 ms away, {name}, s", PAGE_TARGET, page
        )
        yield Figure(
            f"flush of {min(PAGE, tenants)} new tenants, KEKs 30 ms away, {name}, s", FLUSH_TARGET, flush
        )
        seconds = warming(create_engine(database.url), setting.folder, tenants)
        yield Figure(f"warm of {tenants:,} new tenants, a local KEK, {name}, s", WARM_TARGET, seconds)
        seconds = rewrapping(create_engine(database.url), setting.folder, setting.tenants)
        yield Figure(
            f"rewrap of {setting.tenants:,} tenants, KEKs 20 ms away, {name}, s", REWRAP_TARGET, seconds
        )


BENCHMARKS = [together]
