"""What writers feel while an index is built on their table at the default rate: their p99."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, update
from sqlalchemy.exc import OperationalError

from benchmarks.search.people import Person
from benchmarks.search.twins import TENANT
from benchmarks.tenants.figure import Figure
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.columns.token_columns import token_indexes
from sqlalchemy_cmk.keys.indexes import records
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.rekey import Rekey
from sqlalchemy_cmk.rekey.indexes import IndexSpec, IndexWork, build_index, expand_index
from sqlalchemy_cmk.search import Exact

TARGET = 2.0
WRITERS = 2
SECONDS = 8.0
# Rows that the default rate takes a second for, and seconds in which writers start.
A_SECOND, START = 10_000, 2

context = multiprocessing.get_context("forkserver")


class Clinic:
    """A process that writes the table or builds its index."""

    def __init__(self, url: str, folder: Path, index: Any = None) -> None:
        self.engine = create_engine(url)
        self.metadata = MetaData()
        email = EncryptedType(String(80), index=[Exact()] if index is None else index)
        columns = (
            Column("id", Integer, primary_key=True),
            Column("clinic", String(20)),
            Column("email", email),
        )
        self.people = Table("b_people", self.metadata, *columns, info={"cmk_tenant": "clinic"})
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[LocalKeyProvider(folder / "building.json")],
            table_prefix="cmkb_",
            revalidate_after=timedelta(days=1),
        )
        self.keyring.protect(self.metadata)

    def step(self, act: Any) -> None:
        """Take a step of the index's life."""
        (one,) = token_indexes(self.people)["email"]
        with self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            act(IndexWork(self.keyring, alone, Rekey(self.keyring).run), IndexSpec.of(one))

    def close(self) -> None:
        """Close the keyring and the engine."""
        self.keyring.close()
        self.engine.dispose()


def build(url: str, folder: Path, begun: Any) -> None:
    """Build the index; its rows are worked on soon after ``begun`` is set."""
    records.SETTLED_AFTER = 0.0
    clinic = Clinic(url, folder)
    begun.set()
    clinic.step(build_index)
    clinic.close()


def write(url: str, folder: Path, rows: int, seconds: float, said: Any) -> None:
    """Change rows one by one, and say how long each transaction took."""
    clinic, taken = Clinic(url, folder), list[float]()
    people = clinic.people
    warm, end = 3, None
    while end is None or time.monotonic() < end:
        same = people.c.id == random.randint(1, rows), people.c.clinic == TENANT
        began = time.perf_counter()
        with suppress(OperationalError), clinic.engine.begin() as connection:  # a deadlock on MariaDB
            connection.execute(update(people).where(*same).values(email=f"{began}@example.org"))
        taken.append(time.perf_counter() - began)
        warm -= 1
        if warm == 0:
            taken, end = [], time.monotonic() + seconds
        time.sleep(0.002)
    clinic.close()
    said.put(taken)


def window(url: str, folder: Path, rows: int, seconds: float) -> float:
    """Return the p99 of the writers' transactions in seconds."""
    said = context.Queue()
    writers = [context.Process(target=write, args=(url, folder, rows, seconds, said)) for _ in range(WRITERS)]
    for one in writers:
        one.start()
    taken = sorted(took for _ in writers for took in said.get())
    for one in writers:
        one.join()
    return taken[int(0.99 * (len(taken) - 1))]


def building(url: str, folder: Path, persons: list[Person]) -> Iterator[Figure]:
    """Yield the p99 of writes while an index is built, against that without a build; none on SQLite."""
    old, rows = Clinic(url, folder, index=()), len(persons)
    kind = old.engine.dialect.name
    if kind == "sqlite":  # it has one writer
        old.close()
        return
    old.metadata.create_all(old.engine)
    with old.engine.begin() as connection:
        values = [{"id": one.id, "clinic": TENANT, "email": one.email} for one in persons]
        connection.execute(insert(old.people), values)
    old.close()
    clinic = Clinic(url, folder)
    clinic.step(expand_index)
    clinic.close()
    seconds = max(0.5, min(SECONDS, rows / A_SECOND - START))
    without = window(url, folder, rows, seconds)
    begun = context.Event()
    run = context.Process(target=build, args=(url, folder, begun))
    run.start()
    begun.wait()
    during = window(url, folder, rows, seconds)
    run.join()
    yield Figure(f"p99 of writes while an index is built, {kind}", TARGET, during / without)
