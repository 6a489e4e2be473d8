"""One lock from beginning to end."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.drill.app import SETTING, Note, text_of
from benchmarks.drill.observations import Journal
from benchmarks.drill.server import Server, gunicorn
from benchmarks.drill.setting import Times
from benchmarks.drill.stage import PATIENCE, Stage, clients
from benchmarks.lock.outcome import Outcome
from sqlalchemy_cmk.keys.model import Purpose

# The part of the requests that is for the tenant that is locked, so that it is seen when a worker shuts.
SHARE = 6
# The header of a sealed value: a suite, and eight bytes of a DEK's id.
UNDER = "SELECT count(*) FROM notes WHERE tenant = :tenant AND substring(text FROM 2 FOR 8) = :dek"
READS = "SELECT coalesce(sum(seq_scan + idx_scan), 0) FROM pg_stat_user_tables WHERE relname = 'cmk_locks'"

WATCHING: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "cmk_raw_sql": "allow"}


@dataclass(frozen=True)
class Scale:
    """How large a drill is.

    Attributes:
        tenants: how many, each with its own vault and KEK.
        workers, threads: gunicorn's, and how many threads each worker has.
        connections: the clients' connections to each worker.
        pause: seconds for which each of them rests between two requests.
        rows: how many rows of the tenant the re-key worker has to change, more than it can before the lock.
        rate: how many of them in a second.
        lasting: seconds before the lock, and at least from the lock to the unlock.
        notify: whether processes listen for locks.
    """

    tenants: int = 200
    workers: int = 8
    threads: int = 4
    connections: int = 2
    pause: float = 0.1
    rows: int = 4000
    rate: float = 200.0
    lasting: float = 10.0
    notify: bool = False


class LockDrill:
    """Sets everything up, locks a tenant while clients and a re-key worker go on, and tells what was seen.

    Args:
        scale: how large.
        database_url: an empty database.
        folder: an empty folder.
    """

    def __init__(self, scale: Scale, database_url: str, folder: Path) -> None:
        self._scale = scale
        self._url = database_url
        self._folder = folder
        self._tenants = [f"t{number:04}" for number in range(scale.tenants)]
        self._tenant = self._tenants[0]
        self._journal = Journal(folder / "journal")
        self._last_change = 0.0

    def run(self) -> Outcome:
        scale = self._scale
        times = Times(revalidate_after=300, lock_notify=scale.notify)
        with ExitStack() as stack:
            stage = Stage(self._url, self._folder, self._tenants, times, Note, text_of, stack)
            old = self._fill(stage)
            threads = ("--threads", str(scale.threads), "--keep-alive", "300")
            command = gunicorn("benchmarks.drill.app:create_app()", scale.workers, *threads)
            path = stage.setting.write()
            server = stack.enter_context(Server("gunicorn", command, SETTING, path))
            often = [self._tenant] * (scale.tenants // SHARE)
            numbers = (server.port, scale.workers, scale.connections, scale.pause)
            with clients("benchmarks.drill.clients", self._journal_path, *numbers, *self._tenants, *often):
                return self._lock(stage, path, old)

    @property
    def _journal_path(self) -> Path:
        return self._folder / "journal"

    def _fill(self, stage: Stage) -> bytes:
        """Write the rows that are to be re-encrypted; return the id of the DEK that they are under."""
        with Session(stage.engine) as session:
            for number in range(2, self._scale.rows + 2):
                session.add(Note(tenant=self._tenant, number=number, text=text_of(self._tenant, number)))
            session.commit()
        old = stage.keyring.active(self._tenant, Purpose.RANDOMIZED).id
        stage.keyring.lifecycle.rotate_dek(self._tenant)
        return old

    def _lock(self, stage: Stage, path: Path, old: bytes) -> Outcome:
        keyring, tenant = stage.keyring, self._tenant
        self._await(lambda: len(self._cells()) == self._scale.tenants * self._scale.workers)
        workers = frozenset(one.worker for one in self._journal.seen if one.worker)
        command = [sys.executable, "-m", "benchmarks.lock.rekeyer", str(path), str(self._scale.rate)]
        rekeyer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stop = threading.Event()
        watching = threading.Thread(target=self._watch, args=(stage, old, stop))
        watching.start()
        try:
            self._await(lambda: self._last_change > 0)
            watched, reads = time.monotonic(), self._reads(stage)
            time.sleep(self._scale.lasting)
            locking = time.monotonic()
            keyring.lock(tenant, reason="a drill")
            locked = time.monotonic()
            time.sleep(self._scale.lasting)
            # Those that hold keys: the workers, their parent, the operator, the re-key worker.
            looks = (self._reads(stage) - reads) / (time.monotonic() - watched) / (len(workers) + 3)
            self._await(lambda: self._refused_since(locked) == workers)
        finally:
            stop.set()
            watching.join()
        unlocking = time.monotonic()
        keyring.unlock(tenant, reason="the drill is over")
        unlocked = time.monotonic()
        self._await(lambda: self._served_since(unlocked) == workers)
        told, _ = rekeyer.communicate(timeout=PATIENCE)
        seen, moments = self._journal.read(), (locking, locked, unlocking, unlocked)
        return Outcome(
            tenant, workers, list(seen), watched, *moments, self._last_change, json.loads(told), looks
        )

    def _watch(self, stage: Stage, old: bytes, stop: threading.Event) -> None:
        """Note when there was a row less under the old DEK."""
        left = self._scale.rows + 1
        with stage.engine.connect().execution_options(**WATCHING) as connection:
            while not stop.wait(0.05):
                now = connection.scalar(text(UNDER), {"tenant": self._tenant, "dek": old})
                if now is not None and now < left:
                    left, self._last_change = now, time.monotonic()

    def _reads(self, stage: Stage) -> int:
        with stage.engine.connect() as connection:
            return int(connection.scalar(text(READS)) or 0)

    def _cells(self) -> set[tuple[str, int]]:
        return {one.cell for one in self._journal.read() if one.served}

    def _refused_since(self, moment: float) -> frozenset[int]:
        return self._answering(lambda status, answer: "KeyLocked" in answer, moment)

    def _served_since(self, moment: float) -> frozenset[int]:
        return self._answering(lambda status, answer: status == 200, moment)

    def _answering(self, wanted: Callable[[int, str], bool], moment: float) -> frozenset[int]:
        return frozenset(
            one.worker
            for one in self._journal.read()
            if one.tenant == self._tenant and one.began > moment and wanted(one.status, one.answer)
        )

    def _await(self, happens: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < ends, "it did not happen in time"
            time.sleep(0.1)
