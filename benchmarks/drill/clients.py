"""The clients of a drill, in a process of their own: each worker is asked for each tenant, again and again.

``python -m benchmarks.drill.clients JOURNAL PORT WORKERS EACH PAUSE TENANT...`` opens EACH connections to
every worker, reads and writes until its standard input closes, and writes a line to JOURNAL for each request.
Each connection rests for PAUSE seconds between two requests.
"""

import http.client
import os
import random
import sys
import threading
from collections import defaultdict
from itertools import count
from time import monotonic
from typing import TextIO

from benchmarks.drill.app import text_of
from benchmarks.drill.observations import Seen

SECONDS = 60
# Of four requests one writes.
WRITES = 4
# Numbers apart from those of the notes that are there at first.
FIRST = 1_000_000

Connection = http.client.HTTPConnection


def ask(connection: Connection, tenant: str, number: int, method: str) -> Seen:
    """Make one request and say what came of it."""
    text = text_of(tenant, number)
    began = monotonic()
    try:
        connection.request(method, f"/{tenant}/{number}", text.encode() if method == "POST" else None)
        response = connection.getresponse()
        answer = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Seen(began, monotonic(), 0, tenant, number, method, 0, False, answer=repr(error))
    served = response.status == 200
    return Seen(
        began,
        monotonic(),
        int(response.headers.get("X-Worker", 0)),
        tenant,
        number,
        method,
        response.status,
        right=not served or method == "POST" or answer == text,
        proven=float(response.headers.get("X-Proven", 0)),
        overdue=response.headers.get("X-Overdue") == "1",
        answer="" if served else answer,
    )


def connect(port: int, workers: int, each: int, tenant: str) -> dict[int, list[Connection]]:
    """Open so many connections to each worker; the kernel chooses who accepts, so that some are let go."""
    found: defaultdict[int, list[Connection]] = defaultdict(list)
    while sum(len(some) >= each for some in found.values()) < workers:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        found[ask(connection, tenant, 1, "GET").worker].append(connection)
        assert sum(map(len, found.values())) < 100 * workers * each, "some worker accepts no connection"
    kept = {worker: some[:each] for worker, some in found.items()}
    for some in found.values():
        for connection in some[each:]:
            connection.close()
    return kept


class Turns:
    """Gives every tenant its turn at one worker, whichever of its connections is free."""

    def __init__(self, tenants: list[str]) -> None:
        self._tenants = tenants
        self._lock = threading.Lock()
        self._round: list[str] = []

    def next(self) -> str:
        with self._lock:
            if not self._round:
                self._round = random.sample(self._tenants, len(self._tenants))
            return self._round.pop()


class Clients:
    """Threads that read and write until they are stopped."""

    def __init__(
        self, journal: TextIO, connections: dict[int, list[Connection]], tenants: list[str], pause: float
    ) -> None:
        self._journal = journal
        self._pause = pause
        self._numbers = count(FIRST)
        self._written = {tenant: [1] for tenant in tenants}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = []
        for some in connections.values():
            turns = Turns(tenants)
            self._threads += [threading.Thread(target=self._run, args=(one, turns)) for one in some]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, connection: Connection, turns: Turns) -> None:
        while not self._stopped.wait(self._pause):
            tenant = turns.next()
            method = "POST" if random.random() < 1 / WRITES else "GET"
            number = next(self._numbers) if method == "POST" else random.choice(self._written[tenant])
            seen = ask(connection, tenant, number, method)
            if seen.served and method == "POST":
                self._written[tenant].append(number)
            with self._lock:
                self._journal.write(seen.line())


def main(path: str, port: str, workers: str, each: str, pause: str, *tenants: str) -> None:
    connections = connect(int(port), int(workers), int(each), tenants[0])
    with open(path, "a", buffering=1) as journal:
        clients = Clients(journal, connections, list(tenants), float(pause))
        while os.read(sys.stdin.fileno(), 1):
            continue
        clients.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
