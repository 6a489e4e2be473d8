"""The longest read while the keys of busy tenants are proven anew.

Every tenant has a KEK of its own that is 200 ms away, and is read all the time: each read is one row of one
tenant, in turn. All keys are opened at one moment, which is the worst case for the proofs that follow. What
was imported is frozen by ``gc.freeze``, as a server should do: each full collection of garbage goes through
all of that for 50 ms, and stops every thread meanwhile.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert, select

from benchmarks.tenants.figure import Figure, Setting
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret

TENANTS, PERIODS = 500, 10
# The part of the given seconds that is `revalidate_after`.
PERIOD = 2 / 3
AWAY = 0.2

OVER_THE_MEDIAN = 20.0


class DistantProvider(LocalKeyProvider):
    """The local provider, whose KEKs may be far away."""

    seconds = 0.0
    calls = 0

    def place_of(self, kek_uri: str) -> str:
        return kek_uri  # a vault for each tenant

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.calls += 1
        time.sleep(self.seconds)
        return super().unwrap(wrapped)


@dataclass(frozen=True, slots=True)
class Found:
    """Reads and what they took in seconds, those that took as long as a KEK's answer, and the proofs."""

    reads: int
    median: float
    longest: float
    waited: int
    proofs: int

    @property
    def over_the_median(self) -> float:
        """What the longest read took more than the median."""
        return self.longest - self.median


def refreshing(folder: Path, tenants: int, periods: float, *, refresh_ahead: bool, period: float) -> Found:
    """Read for some time, and return how long that took.

    Args:
        folder: an empty folder for the database and the key file.
        tenants: how many there are.
        periods: how often their keys are proven anew.
        refresh_ahead: whether that is done ahead of the deadline.
        period: ``revalidate_after`` in seconds.
    """
    provider, metadata = DistantProvider(folder / "keys.json"), MetaData()
    columns = Column("id", Integer, primary_key=True), Column("owner", String(20))
    sealed: Column[str] = Column("text", EncryptedType(String(20)))
    notes = Table("notes", metadata, *columns, sealed, info={"cmk_tenant": "owner"})
    engine = create_engine(f"sqlite:///{folder / 'notes.db'}")
    keyring = Keyring(
        engine,
        platform_key="local:pmk",
        providers=[provider],
        revalidate_after=period,
        refresh_ahead=refresh_ahead,
    )
    keyring.protect(metadata)
    metadata.create_all(engine)
    names = [f"tenant {number}" for number in range(tenants)]
    keyring.warm(names, new=True)
    for name in names:
        keyring.assign(name, f"local:{name}")
    with engine.begin() as connection:
        connection.execute(insert(notes), [{"owner": name, "text": name} for name in names])
    provider.seconds, provider.calls = AWAY, 0
    took = _read(engine, notes, time.perf_counter() + periods * period)
    keyring.close()
    waited = sum(one >= AWAY for one in took)
    return Found(len(took), median(took), max(took), waited, provider.calls)


def _read(engine: Engine, notes: Table, until: float) -> list[float]:
    took = []
    with engine.connect() as connection:
        rows = connection.execute(select(notes.c.id)).scalars().all()
        while time.perf_counter() < until:
            for row in rows:
                began = time.perf_counter()
                connection.execute(select(notes.c.owner, notes.c.text).where(notes.c.id == row)).one()
                took.append(time.perf_counter() - began)
    return took


def longest_read(setting: Setting) -> Iterator[Figure]:
    """Read over ten periods; what reads take without any proof shows how busy the machine is."""
    tenants, period = min(setting.tenants, TENANTS), setting.seconds * PERIOD
    gc.collect()
    gc.freeze()
    for name, target, periods, seconds in (
        (f"while keys of {tenants} tenants are proven anew", OVER_THE_MEDIAN, PERIODS, period),
        ("without a proof", None, 0.01, 100 * period),
    ):
        with TemporaryDirectory(dir=setting.folder) as folder:
            found = refreshing(Path(folder), tenants, periods, refresh_ahead=True, period=seconds)
        yield Figure(f"longest read {name}, ms over the median", target, 1000 * found.over_the_median)
        yield Figure(f"reads {name} that took 200 ms and more", None, found.waited)


BENCHMARKS = [longest_read]
