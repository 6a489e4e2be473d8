"""The workers of a server, seen from outside by what Linux tells of processes."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.drill.server import Server

PROC = Path("/proc")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
# Seconds for which uvicorn waits for a worker's answer, also of one that is killed before it answers.
ANSWER_SECONDS = 30
ESTABLISHED = "01"


@dataclass(frozen=True)
class Sample:
    """What a worker holds at a moment.

    Attributes:
        at: seconds, of the monotonic clock.
        memory: resident, in bytes.
        files: open file descriptors.
        threads: how many.
        sessions: connections to the database.
    """

    at: float
    memory: int
    files: int
    threads: int
    sessions: int


def uvicorn(app: str, workers: int) -> list[str]:
    """Return the command for uvicorn, which starts each worker as a new process."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "--workers", str(workers), "--port", "0"]
    command += ["--no-access-log", "--timeout-worker-healthcheck", str(ANSWER_SECONDS)]
    return [*command, "--timeout-graceful-shutdown", "2", app]


def workers_of(server: Server) -> list[int]:
    """Return the process ids of a server's workers."""
    children = PROC / f"{server.parent}/task/{server.parent}/children"
    # Beside uvicorn's workers runs a process in which multiprocessing keeps track of semaphores.
    return [int(pid) for pid in children.read_text().split() if b"resource_tracker" not in _command(pid)]


def kill_one(server: Server) -> set[int]:
    """Kill the worker that has lived longest, with no chance to clean up; return its process id."""
    pid = min(workers_of(server), key=_started)
    os.kill(pid, signal.SIGKILL)
    return {pid}


def reload(server: Server) -> set[int]:
    """Let the server replace all its workers; return the process ids of the old ones."""
    old = set(workers_of(server))
    os.kill(server.parent, signal.SIGHUP)
    return old


def sample(pid: int, database_port: int) -> Sample | None:
    """Look at a worker; return ``None`` where it has gone."""
    with suppress(OSError):
        links = [os.readlink(path) for path in _files(pid)]
        sockets = set(_sockets(pid, database_port))
        return Sample(
            at=monotonic(),
            memory=int((PROC / f"{pid}/statm").read_text().split()[1]) * PAGE_SIZE,
            files=len(links),
            threads=len(list((PROC / f"{pid}/task").iterdir())),
            sessions=sum(link in sockets for link in links),
        )
    return None


def _files(pid: int) -> Iterator[Path]:
    for path in (PROC / f"{pid}/fd").iterdir():
        if path.is_symlink():
            yield path


def _sockets(pid: int, port: int) -> Iterator[str]:
    """Return the open connections to a port, as the links of file descriptors name them."""
    for line in (PROC / f"{pid}/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[3] == ESTABLISHED and int(parts[2].split(":")[1], 16) == port:
            yield f"socket:[{parts[9]}]"


def _command(pid: str) -> bytes:
    with suppress(OSError):
        return (PROC / pid / "cmdline").read_bytes()
    return b""


def _started(pid: int) -> int:
    with suppress(OSError):
        # The name before it may hold blanks; after it the start is the twentieth.
        return int((PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return sys.maxsize
