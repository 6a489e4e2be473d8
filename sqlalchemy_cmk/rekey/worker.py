"""Workers: each works through one range of a run, batch by batch.

While the database writes one batch, a worker on its own reads, opens and seals the next in a thread. Nothing
is assumed to last: each batch is committed together with the range's position, and only if the run still
belongs to this worker.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from random import uniform

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases.batch_update import Write
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.loading import load_keyring
from sqlalchemy_cmk.rekey.ahead import BatchStream, read_ahead
from sqlalchemy_cmk.rekey.batch import Batch
from sqlalchemy_cmk.rekey.batches import Batches
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.records import Claim, Range
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.runs import RunStore
from sqlalchemy_cmk.rekey.writing import batch_update_of
from sqlalchemy_cmk.runtime.because import Because, carried, doing
from sqlalchemy_cmk.runtime.pace import Pace

Bounds = tuple[Key | None, Key | None]

MIN_ROWS = 25
MAX_ATTEMPTS = 8


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
    """One range of a run, for a worker of any process.

    Attributes:
        keyring_path: ``MODULE:ATTRIBUTE`` of the application's keyring: each process opens its own keys.
        because: why the run is made, for the audit trail of the process that does the task.
    """

    keyring_path: str | None
    job: Job
    run_id: str
    generation: int
    seq: int
    settings: Settings
    because: Because | None = None


@dataclass(slots=True)
class Outcome:
    """The outcome of a task.

    Attributes:
        seq: the range.
        done: whether it is done; if not, the run was paused or taken over.
        refused: by tenant, why its key could not be opened.
        skipped: rows that others held locked for too long, left for the next pass.
        failure: the database's error, if it failed the worker, without any value of a row.
        lost: whether the connection was lost, so that the range may go on with another.
    """

    seq: int
    done: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    failure: str = ""
    lost: bool = False


class WorkerContext:
    """What the workers of one process share: the keyring, the store of runs, the layout and writer of a run.

    Args:
        keyring: opens the DEKs.
    """

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.store = RunStore(keyring.database)
        self._known: tuple[str, Layout] | None = None
        self._writer: tuple[Layout, Write] | None = None

    def begin(self, run_id: str, layout: Layout) -> None:
        """Set the layout of a run that begins now."""
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
        """Return the writer of a table's rows, made once for a layout."""
        made = self._writer
        if made is None or made[0] is not layout:
            new = layout.database.batch_writer(batch_update_of(layout), connection)
            made = self._writer = layout, new
        return made[1]

    def work(self, task: Task) -> Outcome:
        """Work through a range to its end, or until the run is paused or taken over."""
        found = self.store.range(task.run_id, task.seq)
        if found is None:
            return Outcome(task.seq, done=True)
        # The database's own error may quote a row, and must not even reach the process of the scheduler.
        try:
            with carried(task.because), doing(f"rekey run {task.run_id}"):
                outcome = self.keyring.connections.use(
                    lambda connection: _Worker(self, task, found, connection).run()
                )
        except DBAPIError as error:
            failure = self.keyring.connections.database.explain(error)
            return Outcome(task.seq, failure=failure, lost=error.connection_invalidated)
        if outcome.done:
            self.store.close_range(task.run_id, task.seq)
        return outcome


_contexts: dict[str, WorkerContext] = {}


def run_in_worker_process(task: Task) -> Outcome:
    """Do a task in a process of its own, with the keyring that is found there."""
    path = str(task.keyring_path)
    if path not in _contexts:
        _contexts[path] = WorkerContext(load_keyring(path))
    return _contexts[path].work(task)


class _Worker:
    def __init__(self, context: WorkerContext, task: Task, range_: Range, connection: Connection) -> None:
        self._context = context
        self._task = task
        self._range = range_
        self._connection = connection
        self._claim = Claim(task.run_id, range_.seq, task.generation, range_.step)
        self._outcome = Outcome(range_.seq)
        self._pace = Pace(task.settings.rate)
        self._layout = context.layout(task.run_id, task.job, connection)
        self._database = self._layout.database
        self._database.limit_lock_waits(connection)
        self._write = context.writer(self._layout, connection)

    def run(self) -> Outcome:
        batches = self._batches()
        with closing(batches):
            for batch in batches:
                self._outcome.refused |= batch.refused
                self._pace.wait(batch.rows)
                if not self._commit(batch):
                    return self._outcome
                del batch  # the next is read without this one in memory
        self._outcome.done = True
        return self._outcome

    def _batches(self) -> BatchStream:
        bounds = self._layout.unpack(self._range.position), self._layout.unpack(self._range.high)
        batches = Batches(self._context.keyring, self._task.job, self._layout)

        def read(connection: Connection) -> BatchStream:
            return batches.read(connection, *bounds, self._task.settings.chunk)

        # Where the whole database is locked a reader would keep the writer from its commit.
        if self._task.settings.ahead and not self._database.locks_whole_database:
            return read_ahead(self._context.keyring.connections, read)
        return read(self._connection)

    def _commit(self, batch: Batch) -> bool:
        """Write a batch; ``False`` if the run is paused or another process's.

        Where others hold its rows, the database refuses a value, or its statement is too long, it is written
        in smaller parts.
        """
        limit = self._layout.statement_limit
        if limit is not None and not self._database.fits(batch.changes, limit):
            if batch.count == 1:
                return self._try(self._as_damaged(batch, self._database.too_long(limit)))
            return self._commit_halves(batch)
        for attempt in range(MAX_ATTEMPTS):
            try:
                return self._try(batch)
            except DBAPIError as error:
                self._connection.rollback()
                misfit = self._database.explain(error) if self._database.is_misfit(error) else None
                if misfit is None and not self._database.is_conflict(error):
                    raise
            if misfit and batch.count == 1:
                return self._try(self._as_damaged(batch, misfit))
            if misfit or batch.count >= 2 * MIN_ROWS:
                return self._commit_halves(batch)
            time.sleep(uniform(0.01, 0.1) * 2**attempt)  # noqa: S311
        # A transaction that holds these rows for so long writes them: the next pass sees what it wrote.
        self._outcome.skipped += batch.count
        return self._try(batch.without_changes())

    def _commit_halves(self, batch: Batch) -> bool:
        return all(self._commit(part) for part in batch.halves(len(self._layout.key)))

    def _as_damaged(self, batch: Batch, reason: str) -> Batch:
        """Return a batch of one row that notes it as damaged: its value does not fit."""
        row = [one[0] for one in batch.changes[: len(self._layout.key)]]
        columns = ", ".join(self._task.job.targets)
        noted = batch.without_changes()
        noted.damaged = [*noted.damaged, Damaged(self._layout.pack(row), columns, f"refused: {reason}")]
        return noted

    def _try(self, batch: Batch) -> bool:
        with self._connection.begin() as transaction:
            self._database.limit_statements(self._connection)
            changed = self._write(self._connection, batch.changes) if batch.count else 0
            position = self._layout.pack(batch.last)
            if not self._context.store.advance(self._connection, self._claim, batch, position, changed):
                transaction.rollback()
                return False
        self._claim.step += 1
        return True
