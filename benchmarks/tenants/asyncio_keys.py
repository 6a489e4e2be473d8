"""What a cold key costs by an asynchronous driver, against the synchronous one; its sessions and its memory.

Usage: python -m benchmarks.tenants.asyncio_keys [--rounds 31] [--proofs 10000]. It starts its own PostgreSQL.
A cold key costs what a tenant's first read takes longer than the next one.
"""

import argparse
import asyncio
import gc
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.targets import TARGETS, judged, met
from benchmarks.timing import Rounds
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.servers import POSTGRESQL_URL, start

DRIVERS = {"asyncpg": "psycopg", "psycopg_async": "psycopg", "aiosqlite": "pysqlite"}
TENANTS = 20
MIB = 2**20

metadata = MetaData()
patients = Table(
    "patients",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("clinic_id", String(20)),
    Column("ssn", EncryptedType(String(20))),
    info={"cmk_tenant": "clinic_id"},
)


class Reader:
    """An application with one driver.

    Attributes:
        sessions: how many connections its engine and its keyring have opened.
    """

    def __init__(self, engine: Engine | AsyncEngine, folder: Path) -> None:
        self.sessions = 0
        self._engine = engine
        self._runner = asyncio.Runner()
        event.listen(getattr(engine, "sync_engine", engine), "connect", self._connected)
        provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
        self.keyring.protect(metadata)

    def cold(self, keys: int) -> float:
        """Return the median of the seconds that so many cold keys cost, one after the other."""
        costs = []
        for number in range(keys):
            self.keyring.forget()
            costs.append(self._read(number % TENANTS) - self._read(number % TENANTS))
        return median(costs)

    def close(self) -> None:
        """Close the keyring, the engine and the loop."""
        self.keyring.close()
        if isinstance(self._engine, AsyncEngine):
            self._runner.run(self._engine.dispose())
        else:
            self._engine.dispose()
        self._runner.close()

    def _connected(self, *_: Any) -> None:
        self.sessions += 1

    def _read(self, tenant: int) -> float:
        query = select(patients.c.ssn).where(patients.c.clinic_id == f"clinic {tenant}")
        if isinstance(self._engine, AsyncEngine):
            return self._runner.run(self._awaited(self._engine, query))
        began = time.perf_counter()
        with self._engine.connect() as connection:
            connection.execute(query).one()
        return time.perf_counter() - began

    async def _awaited(self, engine: AsyncEngine, query: Any) -> float:
        began = time.perf_counter()
        async with engine.connect() as connection:
            (await connection.execute(query)).one()
        return time.perf_counter() - began


@contextmanager
def readers(postgresql: URL) -> Iterator[dict[str, Reader]]:
    """Make an application for each driver; those of one kind of database share it."""
    with tempfile.TemporaryDirectory(prefix="cmk-bench-") as name:
        folder = Path(name)
        sqlite = make_url(f"sqlite:///{folder}/bench.db")
        made = {}
        for driver, url in {"psycopg": postgresql, "pysqlite": sqlite}.items():
            engine = create_engine(url)
            made[driver] = Reader(engine, folder)
            metadata.create_all(engine)
            rows = [{"id": n, "clinic_id": f"clinic {n}", "ssn": f"of {n}"} for n in range(TENANTS)]
            with engine.begin() as connection:
                connection.execute(insert(patients), rows)
        for driver, beside in DRIVERS.items():
            url = postgresql if beside == "psycopg" else sqlite
            backend = url.get_backend_name()
            made[driver] = Reader(create_async_engine(url.set(drivername=f"{backend}+{driver}")), folder)
        try:
            yield made
        finally:
            for reader in made.values():
                reader.close()


def asyncio_keys(found: dict[str, Reader], rounds: int, proofs: int) -> dict[str, float]:
    """Return for each asynchronous driver the cost of a cold key, the sessions and the memory."""
    seconds = Rounds({name: lambda one=one: one.cold(TENANTS) for name, one in found.items()}, rounds)
    for name in found:
        print(f"  {name}: {seconds.median(name) * 1000:.1f} ms for a cold key", flush=True)
    figures = {
        f"a cold key, {name} against {beside}": seconds.ratio(name, beside)
        for name, beside in DRIVERS.items()
    }
    for name in DRIVERS:
        sessions = found[name].sessions
        found[name].cold(proofs // 10)
        before = resident()
        found[name].cold(proofs)
        figures[f"memory grown by {proofs:,} proofs, MiB, {name}"] = (resident() - before) / MIB
        figures[f"sessions opened by {proofs:,} proofs, {name}"] = found[name].sessions - sessions
    return figures


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def target_of(figure: str) -> float:
    """Return the target of a figure, by the words that it begins with."""
    return next(
        target for beginning, target in TARGETS["asyncio_keys"].items() if figure.startswith(beginning)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tenants.asyncio_keys", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--proofs", type=int, default=10_000, help="for the figures of memory; 10,000")
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    options = parser.parse_args(arguments)
    server = start(POSTGRESQL_URL)
    try:
        with readers(make_url(server.url)) as found:
            figures = asyncio_keys(found, options.rounds, options.proofs)
    finally:
        server.stop()
    for figure, value in figures.items():
        print(judged(figure, value, target_of(figure)))
    passed = all(met(value, target_of(figure)) for figure, value in figures.items())
    return 1 if options.strict and not passed else 0


if __name__ == "__main__":
    # On SQLite, key events wait while tables are read, and warn of it.
    logging.getLogger("sqlalchemy_cmk").setLevel(logging.ERROR)
    raise SystemExit(main())
