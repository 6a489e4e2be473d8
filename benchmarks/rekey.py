"""Re-keying against PostgreSQL's own floor: an UPDATE that changes one byte of each row's sealed columns.

Usage: python -m benchmarks.rekey [ROWS] [ROUNDS]. It starts a private PostgreSQL. Besides the ratios of wall
time it prints the processor's time for a row, in this process and in the server's, which other work on the
machine hardly changes.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine

from benchmarks.targets import TARGETS, judged
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.rekey import Job, Move, Rekey
from tests.support.servers import POSTGRESQL_URL, start

RESULTS = Path("benchmarks/rekey.json")
KEYRING_PATH = "benchmarks.rekey:keyring"
# Rows in a transaction where nobody else waits for them.
CHUNK = 10_000
# Rows that are sealed; the others are copies of them.
INSERTED = 10_000
FOLDER = "CMK_BENCH_FOLDER"

metadata = MetaData()
patients = Table(
    "patients",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("clinic_id", String(20)),
    Column("name", String(20)),
    Column("ssn", EncryptedType(String(20))),
    info={"cmk_tenant": "clinic_id"},
)
# Before it is encrypted the column's values are plain, and those that are sealed go into one beside it.
people = Table(
    "people",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("clinic_id", String(20)),
    Column("name", String(20)),
    Column("ssn", String(20)),
    Column("ssn__cmk", EncryptedType(String(20))),
    info={"cmk_tenant": "clinic_id"},
)
# Five sealed columns of one table, which a job moves in one pass.
FIVE = tuple(f"ssn{number}" for number in range(1, 6))
wide = Table(
    "wide",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("clinic_id", String(20)),
    Column("name", String(20)),
    *(Column(name, EncryptedType(String(20))) for name in FIVE),
    info={"cmk_tenant": "clinic_id"},
)
SEAL = Job(
    "people",
    (Move("ssn", "ssn__cmk", String(20), EncryptedType(String(20), context=("people", "ssn__cmk"))),),
    tenant_column="clinic_id",
)


def keyring() -> Keyring:
    """The keyring over the benchmark's database, in whatever process."""
    made = Keyring(
        create_engine(os.environ[POSTGRESQL_URL]),
        platform_key="local:pmk",
        providers=[LocalKeyProvider(f"{os.environ[FOLDER]}/keys.json")],
    )
    made.protect(metadata)
    return made


class Bench:
    """The tables, filled anew before each turn."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.keyring = keyring()
        self.engine = create_engine(os.environ[POSTGRESQL_URL])
        metadata.drop_all(self.engine)
        metadata.create_all(self.engine)
        self.keyring.warm(["acme"], new=True)
        url = os.environ[POSTGRESQL_URL].replace("+psycopg", "")
        self.connection = psycopg.connect(url, autocommit=True)
        found: Any = self.connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        self.postmaster = int(found[0].split()[0])

    def fill(self) -> None:
        self._fill(patients)

    def fill_plain(self) -> None:
        self._fill(people)

    def fill_wide(self) -> None:
        self._fill(wide, FIVE)

    def _fill(self, table: Table, columns: tuple[str, ...] = ("ssn",)) -> None:
        """Insert some rows, and let the server copy them until there are enough."""
        self.connection.execute(f"TRUNCATE {table.name}")
        made, filled = min(self.rows, INSERTED), ", ".join(columns)
        rows = [
            {"id": number, "clinic_id": "acme", "name": f"name {number}"}
            | dict.fromkeys(columns, f"078-05-{number:08}")
            for number in range(made)
        ]
        with self.engine.begin() as connection:
            connection.execute(table.insert(), rows)
        while made < self.rows:
            more = min(made, self.rows - made)
            self.connection.execute(
                f"INSERT INTO {table.name} (id, clinic_id, name, {filled}) "
                f"SELECT id + {made}, clinic_id, name, {filled} FROM {table.name} WHERE id < {more}"
            )
            made += more
        self.connection.execute(f"VACUUM ANALYZE {table.name}")
        self.connection.execute("CHECKPOINT")

    def floor(self) -> None:
        self.connection.execute("UPDATE patients SET ssn = set_byte(ssn, 0, 1)")

    def floor_of_five(self) -> None:
        changes = ", ".join(f"{name} = set_byte({name}, 0, 1)" for name in FIVE)
        self.connection.execute(f"UPDATE wide SET {changes}")

    def re_encrypt(self, executor: Executor | None = None, table: Table = patients) -> None:
        place = KEYRING_PATH if executor else None
        workers = 2 if executor else 1
        rekey = Rekey(
            self.keyring, rate=None, chunk=CHUNK, workers=workers, executor=executor, keyring_path=place
        )
        report = rekey.run(Job.of(table))
        assert report.ok and report.rows_changed == self.rows, report

    def encrypt(self) -> None:
        report = Rekey(self.keyring, rate=None, chunk=CHUNK).run(SEAL)
        assert report.ok and report.rows_changed == self.rows, report


def server_seconds(postmaster: int) -> float:
    """The processor's time that a PostgreSQL server has taken, with its processes that have ended."""
    ticks = 0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(folder.name if folder.name.isdigit() else 0) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(postmaster: int, act: Callable[[], None]) -> tuple[float, float, float]:
    """Return seconds on the wall, of this process and of the server."""
    own, server, wall = own_seconds(), server_seconds(postmaster), time.perf_counter()
    act()
    seconds = time.perf_counter() - wall
    return seconds, own_seconds() - own, server_seconds(postmaster) - server


@contextmanager
def prepared(rows: int) -> Iterator[Bench]:
    """The tables on the server that the environment names, or on a private one."""
    server = None if os.environ.get(POSTGRESQL_URL) else start(POSTGRESQL_URL)
    if server:
        os.environ[POSTGRESQL_URL] = server.url
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="cmk-bench-")
    try:
        bench = Bench(rows)
        try:
            yield bench
        finally:
            bench.keyring.close()
    finally:
        if server:
            server.stop()


FIVE_COLUMNS = "floor of five columns"
FLOOR_OF = {
    "re-encrypt, five columns": FIVE_COLUMNS,
    "re-encrypt, five columns, two processes": FIVE_COLUMNS,
}


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    rows = bench.rows
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as two:
        list(two.map(time.sleep, [0.2, 0.2]))

        contestants: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "floor": (bench.fill, bench.floor),
            "re-encrypt, one process": (bench.fill, bench.re_encrypt),
            "re-encrypt, two processes": (bench.fill, lambda: bench.re_encrypt(two)),
            "encrypt a plaintext column": (bench.fill_plain, bench.encrypt),
            FIVE_COLUMNS: (bench.fill_wide, bench.floor_of_five),
            "re-encrypt, five columns": (bench.fill_wide, lambda: bench.re_encrypt(table=wide)),
            "re-encrypt, five columns, two processes": (
                bench.fill_wide,
                lambda: bench.re_encrypt(two, wide),
            ),
        }
        taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contestants}
        for number in range(rounds):
            names = list(contestants)
            for name in names if number % 2 else reversed(names):
                prepare, act = contestants[name]
                prepare()
                if name.startswith("re-encrypt"):
                    bench.keyring.lifecycle.rotate_dek("acme")
                taken[name].append(measured(bench.postmaster, act))
    medians = {
        name: tuple(median(part) for part in zip(*times, strict=True)) for name, times in taken.items()
    }
    floors = {name: medians[name][0] for name in ("floor", FIVE_COLUMNS)}
    return {
        "rows": rows,
        "rounds": rounds,
        "results": {
            name: {"measured": medians[name][0] / floors[FLOOR_OF.get(name, "floor")], "target": target}
            for name, target in TARGETS["rekey"].items()
        },
        "us a row: wall, own processor, server's processor": {
            name: [round(part / rows * 1e6, 2) for part in parts] for name, parts in medians.items()
        },
    }


def main(rows: int = 200_000, rounds: int = 3) -> None:
    with prepared(rows) as bench:
        found = measure(bench, rounds)
    for name, parts in found["us a row: wall, own processor, server's processor"].items():
        print(f"{name:40} {parts[0]:7.2f} us a row; processor: {parts[1]:6.2f} here, {parts[2]:6.2f} server")
    for name, result in found["results"].items():
        print(judged(f"{name}, against the floor", result["measured"], result["target"]))
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
