"""Samples of every worker, taken by a thread while a soak runs."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from benchmarks.drill.server import Server
from benchmarks.soak.workers import Sample, sample, workers_of

EVERY = 1.0


@dataclass(frozen=True)
class Worker:
    """A process that served."""

    server: str
    pid: int


class Watch:
    """Looks at every worker each second, for the length of a block.

    Args:
        servers: whose workers.
        database_port: the port of the database.
        opened: returns how many sessions the database has ever had.

    Attributes:
        samples: what was seen of each worker.
        sessions: how many sessions the database had ever had, and when.
        alive: the workers that were there at the last look.
    """

    def __init__(self, servers: list[Server], database_port: int, opened: Callable[[], int]) -> None:
        self._servers = servers
        self._port = database_port
        self._opened = opened
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: defaultdict[Worker, list[Sample]] = defaultdict(list)
        self.sessions: list[tuple[float, int]] = []
        self.alive: set[Worker] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            self.sessions.append((monotonic(), self._opened()))
            alive = set()
            for server in self._servers:
                for pid in workers_of(server):
                    if (seen := sample(pid, self._port)) is not None:
                        alive.add(Worker(server.name, pid))
                        self.samples[Worker(server.name, pid)].append(seen)
            self.alive = alive
