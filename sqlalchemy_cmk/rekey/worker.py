"""A worker: takes one range of a run, batch by batch, to its end.

While the database writes one batch, a worker on its own reads, opens and seals the next in a thread. Nothing
is trusted to stay: each batch is committed together with the range's position, and only if the run is still
this worker's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from random import uniform
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.connections import Connections
from sqlalchemy_cmk.keys.loading import load_keyring
from sqlalchemy_cmk.keys.rewrapping import Pace
from sqlalchemy_cmk.rekey.batches import Batch, Batches
from sqlalchemy_cmk.rekey.conflicts import explained, is_conflict, is_misfit, limit_statements, limit_waiting
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.layout import Key, Layout
from sqlalchemy_cmk.rekey.records import Claim, Range
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.runs import RunStore
from sqlalchemy_cmk.rekey.writing import Write, writer_for

Batchwise = Generator[Batch, None, None]
Bounds = tuple[Key | None, Key | None]

SMALLEST = 25
PATIENCE = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works.

    Attributes:
        chunk: rows in one transaction.
        rate: at most so many rows a second; ``None`` for as many as go.
        ahead: whether the next batch is read and converted while the database writes one. Where there are
            several workers the others use that time, and a thread more for each only takes it from them.
    """

    chunk: int
    rate: float | None
    ahead: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One range of a run, for a worker in whatever process.

    Attributes:
        place: ``MODULE:ATTRIBUTE`` of the application's keyring: each worker opens its own keys.
    """

    place: str | None
    job: Job
    run_id: str
    generation: int
    seq: int
    settings: Settings


@dataclass(slots=True)
class Outcome:
    """What came of a task.

    Attributes:
        seq: the range.
        done: whether it is done; if not, the worker was paused or fenced off.
        refused: by tenant, why its key could not be had.
        skipped: rows that others held locked for too long, left for the next pass.
        failure: why the database failed the worker; no value of a row is in it.
        lost: whether that was the loss of the connection, so that it may go on with another.
    """

    seq: int
    done: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    failure: str = ""
    lost: bool = False


class Workshop:
    """What the workers of one process share.

    Args:
        keyring: opens the DEKs.
    """

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.store = RunStore(keyring.database)
        self._known: tuple[str, Layout] | None = None
        self._writer: tuple[Layout, Write] | None = None

    def begin(self, run_id: str, layout: Layout) -> None:
        """Take a layout for that of a run which begins now."""
        self.keyring.notice_rotations()
        self._known = run_id, layout

    def layout(self, run_id: str, job: Job, connection: Connection) -> Layout:
        """Return the layout of a job's table, looked up once for a run."""
        known = self._known
        if known is None or known[0] != run_id:
            layout = Layout(job, connection)
            self.begin(run_id, layout)
            return layout
        return known[1]

    def writer(self, layout: Layout, connection: Connection) -> Write:
        """Return what writes to a table, made once for a layout."""
        made = self._writer
        if made is None or made[0] is not layout:
            made = self._writer = layout, writer_for(layout, connection)
        return made[1]

    def work(self, task: Task) -> Outcome:
        """Take a range to its end, or as far as this worker may."""
        found = self.store.range(task.run_id, task.seq)
        if found is None:
            return Outcome(task.seq, done=True)
        # The database's own error may quote a row: it goes nowhere, not even to the crew's process.
        try:
            outcome = self.keyring.connections.use(
                lambda connection: _Worker(self, task, found, connection).run()
            )
        except DBAPIError as error:
            return Outcome(task.seq, failure=explained(error), lost=error.connection_invalidated)
        if outcome.done:
            self.store.close_range(task.run_id, task.seq)
        return outcome


_workshops: dict[str, Workshop] = {}


def work_elsewhere(task: Task) -> Outcome:
    """Do a task in another process, with the keyring that is found there."""
    place = str(task.place)
    if place not in _workshops:
        _workshops[place] = Workshop(load_keyring(place))
    return _workshops[place].work(task)


class _Worker:
    def __init__(self, shop: Workshop, task: Task, range_: Range, connection: Connection) -> None:
        self._shop = shop
        self._task = task
        self._range = range_
        self._connection = connection
        self._claim = Claim(task.run_id, range_.seq, task.generation, range_.step)
        self._outcome = Outcome(range_.seq)
        self._pace = Pace(task.settings.rate)
        limit_waiting(connection)
        self._layout = shop.layout(task.run_id, task.job, connection)
        self._write = shop.writer(self._layout, connection)

    def run(self) -> Outcome:
        batches = self._batches()
        with closing(batches):
            for batch in batches:
                self._outcome.refused |= batch.refused
                self._pace.wait(batch.rows)
                if not self._commit(batch):
                    return self._outcome
        self._outcome.done = True
        return self._outcome

    def _batches(self) -> Batchwise:
        bounds = self._layout.unpack(self._range.position), self._layout.unpack(self._range.high)
        batches = Batches(self._shop.keyring, self._task.job, self._layout)

        def read(connection: Connection) -> Batchwise:
            return batches.read(connection, *bounds, self._task.settings.chunk)

        # On SQLite a reader would keep the writer from its commit.
        if self._task.settings.ahead and self._connection.dialect.name != "sqlite":
            return _read_ahead(self._shop.keyring.connections, read)
        return read(self._connection)

    def _commit(self, batch: Batch) -> bool:
        """Write a batch; ``False`` where it must not be.

        Where others hold its rows, or the database refuses a value, it is written in smaller parts.
        """
        for attempt in range(PATIENCE):
            try:
                return self._try(batch)
            except DBAPIError as error:
                self._connection.rollback()
                misfit = explained(error) if is_misfit(error) else None
                if misfit is None and not is_conflict(error):
                    raise
            if misfit and batch.count == 1:
                return self._try(self._without(batch, misfit))
            if misfit or batch.count >= 2 * SMALLEST:
                return all(self._commit(part) for part in batch.halves(len(self._layout.key)))
            time.sleep(uniform(0.01, 0.1) * 2**attempt)  # noqa: S311
        # Whoever holds these rows for so long is writing them: the next pass sees what they wrote.
        self._outcome.skipped += batch.count
        return self._try(batch.emptied())

    def _without(self, batch: Batch, reason: str) -> Batch:
        """Return a batch of one row without it: its value does not fit."""
        row = [one[0] for one in batch.changes[: len(self._layout.key)]]
        columns = ", ".join(move.target for move in self._task.job.moves)
        left = batch.emptied()
        left.damaged = [*left.damaged, Damaged(self._layout.pack(row), columns, f"refused: {reason}")]
        return left

    def _try(self, batch: Batch) -> bool:
        with self._connection.begin() as transaction:
            limit_statements(self._connection)
            changed = self._write(self._connection, batch.changes) if batch.count else 0
            position = self._layout.pack(batch.last)
            if not self._shop.store.advance(self._connection, self._claim, batch, position, changed):
                transaction.rollback()
                return False
        self._claim.step += 1
        return True


_END = object()


def _read_ahead(connections: Connections, read: Callable[[Connection], Batchwise]) -> Batchwise:
    """Give out batches that a thread reads and converts, one ahead, on a connection of its own."""
    queue: Queue[Any] = Queue(1)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=0.2)
                return True
            except Full:
                continue
        return False

    def work(connection: Connection) -> None:
        for batch in read(connection):
            if not put(batch):
                return

    def run() -> None:
        try:
            connections.use(work)
            put(_END)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, name="cmk-rekey-read", daemon=True)
    thread.start()
    try:
        while True:
            item = _next(queue, thread)
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _next(queue: Queue[Any], thread: threading.Thread) -> Any:
    while True:
        try:
            return queue.get(timeout=1)
        except Empty:
            if not thread.is_alive() and queue.empty():
                raise RuntimeError("the thread that reads rows has ended before its last row")  # noqa: B904
