"""The clients of one server in a soak, in a process of their own.

``python -m benchmarks.soak.clients JOURNAL PORT FIRST THREADS PAUSE TENANT...`` reads and writes in THREADS
threads, and lists all tenants in one more, until its standard input closes, with PAUSE seconds between two
requests of a thread. FIRST is the number of the first note that it writes. It writes a line to JOURNAL for
each request.
"""

import json
import os
import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from itertools import count
from time import monotonic
from typing import TextIO

from benchmarks.drill.app import text_of
from benchmarks.drill.clients import WRITES, Connection, Turns, ask
from benchmarks.drill.observations import Seen

# A page waits for vaults that do not answer, one after the other at worst.
SECONDS = 300
PAGE = "(all)"
# A page comes so many times as rarely as a single note.
RARER = 10


def ask_page(connection: Connection, tenants: set[str]) -> Seen:
    """Ask for the page over all tenants, and say what came of it: ``answer`` names those that are sealed."""
    began = monotonic()
    worker, status, right, answer = 0, 0, True, ""
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        text = response.read().decode()
        worker, status, answer = int(response.headers.get("X-Worker", 0)), response.status, text
        if status == 200:
            page = json.loads(text)
            right = page.keys() == tenants
            right = right and all(one in (None, text_of(tenant, 1)) for tenant, one in page.items())
            answer = ",".join(tenant for tenant, one in page.items() if one is None)
    except (OSError, HTTPException) as error:
        status, answer = 0, repr(error)
    return Seen(began, monotonic(), worker, PAGE, 0, "GET", status, right, answer=answer)


class Clients:
    """Threads that ask one server until they are stopped."""

    def __init__(self, journal: TextIO, port: int, first: int, pause: float, tenants: list[str]) -> None:
        self._journal = journal
        self._connect = partial(Connection, "127.0.0.1", port, timeout=SECONDS)
        self._numbers = count(first)
        self._pause = pause
        self._tenants = tenants
        self._turns = Turns(tenants)
        self._written = {tenant: [1] for tenant in tenants}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, threads: int) -> None:
        """Ask until standard input closes."""
        running = [
            threading.Thread(target=self._repeat, args=(self._note, self._pause)) for _ in range(threads)
        ]
        running.append(threading.Thread(target=self._repeat, args=(self._page, self._pause * RARER)))
        for thread in running:
            thread.start()
        while os.read(sys.stdin.fileno(), 1):
            continue
        self._stopped.set()
        for thread in running:
            thread.join()

    def _repeat(self, work: Callable[[Connection], Seen], pause: float) -> None:
        while not self._stopped.wait(pause):
            # A new connection each time: sync workers keep none, and others may close theirs as it is used.
            connection = self._connect()
            seen = work(connection)
            connection.close()
            with self._lock:
                self._journal.write(seen.line())

    def _page(self, connection: Connection) -> Seen:
        return ask_page(connection, set(self._tenants))

    def _note(self, connection: Connection) -> Seen:
        tenant = self._turns.next()
        method = "POST" if random.random() < 1 / WRITES else "GET"
        number = next(self._numbers) if method == "POST" else random.choice(self._written[tenant])
        seen = ask(connection, tenant, number, method)
        if seen.served and method == "POST":
            self._written[tenant].append(number)
        return seen


def main(path: str, port: str, first: str, threads: str, pause: str, *tenants: str) -> None:
    with open(path, "a", buffering=1) as journal:
        Clients(journal, int(port), int(first), float(pause), list(tenants)).run(int(threads))


if __name__ == "__main__":
    main(*sys.argv[1:])
