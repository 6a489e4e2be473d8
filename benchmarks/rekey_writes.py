"""What writes feel of a run at the default rate: the p99 of single-row updates on the same table.

Usage: python -m benchmarks.rekey_writes [ROWS] [SECONDS] [ROUNDS]. Windows without and with a run take turns.
"""

import multiprocessing
import os
import random
import sys
import threading
import time
from statistics import median, quantiles
from typing import Any

from sqlalchemy import create_engine

from benchmarks.rekey import keyring, patients, prepared
from benchmarks.targets import TARGETS, judged
from sqlalchemy_cmk import tenant_scope
from sqlalchemy_cmk.rekey import Job, Rekey
from tests.support.servers import POSTGRESQL_URL

WRITERS = 2
PAUSE = 0.005  # seconds between two writes of a writer


def write(rows: int, seconds: float, said: Any) -> None:
    """Update random rows, as pgbench does, and say how long each transaction took and what failed."""
    made = keyring()
    made.warm(["acme"], new=True)
    engine = create_engine(os.environ[POSTGRESQL_URL])
    taken, failed = [], []
    with engine.connect() as connection, tenant_scope("acme"):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            change = patients.update().where(patients.c.id == random.randrange(rows))
            began = time.perf_counter()
            try:
                with connection.begin():
                    connection.execute(change.values(ssn="078-05-1120"))
            except Exception as error:
                failed.append(type(error).__name__)
            taken.append(time.perf_counter() - began)
            time.sleep(PAUSE)
    said.put((taken, failed))


def window(rows: int, seconds: float) -> tuple[float, int]:
    """Return the p99 of the writers' transactions in milliseconds, and how many failed."""
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    writers = [context.Process(target=write, args=(rows, seconds, said)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    found = [said.get() for _ in writers]
    for writer in writers:
        writer.join()
    taken = [one for some, _ in found for one in some]
    return quantiles(taken, n=100)[98] * 1000, sum(len(failed) for _, failed in found)


def main(rows: int = 200_000, seconds: int = 15, rounds: int = 3) -> None:
    without, during, failures = [], [], 0
    with prepared(rows) as bench:
        bench.fill()
        for _ in range(rounds):
            without.append(window(rows, seconds)[0])
            bench.keyring.lifecycle.rotate_dek("acme")
            run = threading.Thread(target=lambda: Rekey(bench.keyring).run(Job.of(patients)), daemon=True)
            run.start()
            p99, failed = window(rows, seconds)
            during.append(p99)
            failures += failed
            run.join()
    ratio = median(during) / median(without)
    print(f"p99 of writes: {median(without):.2f} ms without a run, {median(during):.2f} ms during one")
    figures = {"p99 of writes during a run, against that without one": ratio, "writes that failed": failures}
    for name, target in TARGETS["rekey_writes"].items():
        print(judged(name, figures[name], target))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
