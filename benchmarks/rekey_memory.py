"""How far the memory of a worker rises while it re-encrypts a table: it has to be flat.

Usage: python -m benchmarks.rekey_memory [ROWS]... It starts a private PostgreSQL.
"""

import multiprocessing
import re
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.rekey import keyring, patients, prepared
from benchmarks.targets import TARGETS, judged
from sqlalchemy_cmk.rekey import Job, Rekey

FIGURE = "memory above the start, MiB"
LOOK_EVERY = 0.05


def resident() -> float:
    """The memory of this process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


def work() -> tuple[int, float]:
    """Re-encrypt the table in this process; return how many rows that were and how far its memory rose."""
    made = keyring()
    made.warm(["acme"], new=True)
    began, highest, done = resident(), 0.0, threading.Event()

    def look() -> None:
        nonlocal highest
        while not done.wait(LOOK_EVERY):
            highest = max(highest, resident())

    looking = threading.Thread(target=look)
    looking.start()
    report = Rekey(made, rate=None).run(Job.of(patients))
    done.set()
    looking.join()
    return report.rows_changed, highest - began


def main(*sizes: int) -> None:
    context = multiprocessing.get_context("spawn")
    with prepared(0) as bench:
        for bench.rows in sizes or (100_000, 1_000_000):
            bench.fill()
            bench.keyring.lifecycle.rotate_dek("acme")
            with ProcessPoolExecutor(1, context) as worker:
                changed, risen = worker.submit(work).result()
            print(judged(f"{FIGURE}, {changed:,} rows", risen, TARGETS["rekey_memory"][FIGURE]), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
