"""Splits a run's table into ranges as they are needed, and hands them to workers until all are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from sqlalchemy import Connection

from sqlalchemy_cmk.errors import KeyUnavailable, RunInterrupted
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.records import Range, Run, RunState
from sqlalchemy_cmk.rekey.report import Progress
from sqlalchemy_cmk.rekey.runs import taken_over
from sqlalchemy_cmk.rekey.worker import Outcome, Settings, Task, WorkerContext, run_in_worker_process
from sqlalchemy_cmk.runtime.because import current

# Ranges become shorter towards the end of a table, so that all workers are done at about the same time.
MIN_CHUNKS = 5
MAX_CHUNKS = 50
MAX_LOST_CONNECTIONS = 3
POLL_SECONDS = 0.5

ProgressCallback = Callable[[Progress], None]


class ProgressReporter:
    """Calls back with the progress of a run, about twice a second.

    Args:
        callback: the caller's; ``None`` to report nothing.
        expected: about how many rows there are.
    """

    def __init__(self, callback: ProgressCallback | None, expected: int) -> None:
        self._callback = callback
        self._expected = expected
        self._began = time.monotonic()
        self._first: int | None = None
        self._next = 0.0

    def report(self, read: int, changed: int, *, now: bool = False) -> None:
        """Report how many rows were read and changed, if it is time to, or ``now``."""
        moment = time.monotonic()
        if self._callback is None or (moment < self._next and not now):
            return
        self._next = moment + POLL_SECONDS
        self._first = read if self._first is None else self._first
        seconds = moment - self._began
        pace = (read - self._first) / seconds if seconds else 0.0
        self._callback(Progress(read, changed, max(read, self._expected), seconds, pace))


@dataclass(slots=True)
class PassResult:
    """The rows that one pass through a table left as they were.

    Attributes:
        refused: by tenant, why its key could not be opened.
        skipped: rows that others held locked for too long.
    """

    refused: dict[str, str] = field(default_factory=dict)
    skipped: int = 0


class RangeScheduler:
    """Hands the ranges of a run to workers until all are done.

    Args:
        context: what workers of this process share, the scheduler too.
        executor: where workers run.
        workers: how many ranges are worked on at once.
        keyring_path: ``MODULE:ATTRIBUTE`` where workers of other processes find their keyring; ``None`` for
            workers of this process.
        settings: how they work.
    """

    def __init__(
        self,
        context: WorkerContext,
        executor: Executor,
        workers: int,
        keyring_path: str | None,
        settings: Settings,
    ) -> None:
        self._context = context
        self._store = context.store
        self._executor = executor
        self._workers = workers
        self._keyring_path = keyring_path
        self._settings = settings

    def run_pass(self, run: Run, layout: Layout, progress: ProgressReporter) -> PassResult:
        """Go through the table once: the ranges that are open, then the rest.

        Raises:
            RunInterrupted: another process has taken the run over, or the database fails.
        """
        result, job = PassResult(), layout.job
        ranges = chain(self._store.open_ranges(run), self._split(run, layout))
        waiting: dict[Future[Outcome], int] = {}
        lost: dict[int, int] = {}
        one = next(ranges, None)
        try:
            while True:
                while len(waiting) < self._workers and one is not None:
                    waiting[self._start(run, job, one.seq)] = one.seq
                    one = next(ranges, None)
                if not waiting:
                    break
                for future in wait(waiting, POLL_SECONDS, FIRST_COMPLETED).done:
                    seq = waiting.pop(future)
                    if not self._collect(run, future, result, lost, seq):
                        waiting[self._start(run, job, seq)] = seq
                self._report(run, progress)
        except BaseException:
            # The other workers stop after their batches, since the run has failed.
            self._store.fence(run)
            raise
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)
        self._report(run, progress, now=True)
        return result

    def _split(self, run: Run, layout: Layout) -> Iterator[Range]:
        """Split off the ranges that are left, each when it is asked for."""
        low, done, remaining = run.split_up_to, run.fully_split, run.rows_expected
        end: str | None = None
        while not done:
            share = max(MIN_CHUNKS, remaining // (2 * self._workers * self._settings.chunk))
            count = min(share, MAX_CHUNKS) * self._settings.chunk
            high = None
            if end is None or low != end:
                boundaries = partial(_boundaries, layout, low, end, count)
                high, end = self._context.keyring.connections.use(boundaries)
            remaining -= count
            new = self._store.split(run, low, high)
            if new is None:
                return
            yield new
            low = high

    def _start(self, run: Run, job: Job, seq: int) -> Future[Outcome]:
        task = Task(self._keyring_path, job, run.id, run.generation, seq, self._settings, current())
        work = self._context.work if self._keyring_path is None else run_in_worker_process
        return self._executor.submit(work, task)

    def _collect(
        self, run: Run, future: Future[Outcome], result: PassResult, lost: dict[int, int], seq: int
    ) -> bool:
        """Add a worker's outcome to the result; ``False`` if its range has to be started again."""
        try:
            outcome = future.result()
        except KeyUnavailable as error:
            outcome = Outcome(seq, failure=str(error), lost=True)
        if outcome.failure:
            lost[seq] = lost.get(seq, 0) + 1
            if not outcome.lost or lost[seq] > MAX_LOST_CONNECTIONS:
                raise RunInterrupted(f"run {run.id} of {run.description} stopped: {outcome.failure}")
            time.sleep(2 ** lost[seq])
            return False
        result.refused |= outcome.refused
        result.skipped += outcome.skipped
        if not outcome.done:
            self._await_resumption(run)
        return outcome.done

    def _await_resumption(self, run: Run) -> None:
        while True:
            now = self._store.run(run.id)
            if now.generation != run.generation or now.state is RunState.DONE:
                raise taken_over(run)
            if now.state is RunState.RUNNING:
                return
            time.sleep(POLL_SECONDS)

    def _report(self, run: Run, progress: ProgressReporter, *, now: bool = False) -> None:
        counts = self._store.counts(run.id)
        progress.report(counts.rows_read, counts.rows_changed, now=now)


def _boundaries(
    layout: Layout, low: str | None, end: str | None, count: int, connection: Connection
) -> tuple[str | None, str | None]:
    """Return the key that is so many rows after another, or else the last one; and the last one.

    Args:
        end: the last key, once it is known. Rows that others add after it meanwhile are for the next pass:
            this one would not come to an end.

    Returns:
        Two keys; ``None`` for both where there are no rows.
    """
    if end is None:
        last = connection.execute(layout.last(layout.unpack(low))).first()
        if last is None:
            return None, None
        end = layout.pack(last)
    found = connection.execute(layout.boundary(layout.unpack(low), layout.unpack(end), count)).first()
    return (end if found is None else layout.pack(found)), end
