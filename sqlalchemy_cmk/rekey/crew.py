"""A crew of workers: cuts the table into ranges as they are needed, and hands them out until all are done."""

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
from sqlalchemy_cmk.rekey.worker import Outcome, Settings, Task, Workshop, work_elsewhere

# Ranges become shorter towards the end of a table, so that all workers are done at about the same time.
FEWEST_CHUNKS = 5
CHUNKS_IN_RANGE = 50
LOST_CONNECTIONS = 3
LOOK_EVERY = 0.5

Watch = Callable[[Progress], None]


class Watcher:
    """Tells somebody how far a run is.

    Args:
        watch: is told; ``None`` for nobody.
        expected: about how many rows there are.
    """

    def __init__(self, watch: Watch | None, expected: int) -> None:
        self._watch = watch
        self._expected = expected
        self._began = time.monotonic()
        self._first: int | None = None
        self._next = 0.0

    def tell(self, read: int, changed: int, *, now: bool = False) -> None:
        """Tell how many rows were looked at and changed, if it is time to, or ``now``."""
        moment = time.monotonic()
        if self._watch is None or (moment < self._next and not now):
            return
        self._next = moment + LOOK_EVERY
        self._first = read if self._first is None else self._first
        seconds = moment - self._began
        pace = (read - self._first) / seconds if seconds else 0.0
        self._watch(Progress(read, changed, max(read, self._expected), seconds, pace))


@dataclass(slots=True)
class Findings:
    """What one pass through a table met with.

    Attributes:
        refused: by tenant, why its key could not be had.
        skipped: rows that others held locked for too long.
    """

    refused: dict[str, str] = field(default_factory=dict)
    skipped: int = 0


class Crew:
    """Hands out the ranges of a run.

    Args:
        shop: for workers of this process, and for what the crew itself reads and writes.
        executor: where workers run.
        workers: how many at once.
        place: where workers of other processes find their keyring; ``None`` if they are of this one.
        settings: how they work.
    """

    def __init__(
        self, shop: Workshop, executor: Executor, workers: int, place: str | None, settings: Settings
    ) -> None:
        self._shop = shop
        self._store = shop.store
        self._executor = executor
        self._workers = workers
        self._place = place
        self._settings = settings

    def go_through(self, run: Run, layout: Layout, watch: Watcher) -> Findings:
        """Go through the table once: the ranges that are open, then the rest.

        Raises:
            RunInterrupted: another process has taken the run over, or the database fails.
        """
        findings, job = Findings(), layout.job
        ranges = chain(self._store.open_ranges(run), self._carved(run, layout))
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
                for future in wait(waiting, LOOK_EVERY, FIRST_COMPLETED).done:
                    seq = waiting.pop(future)
                    if not self._finished(run, future, findings, lost, seq):
                        waiting[self._start(run, job, seq)] = seq
                self._tell(run, watch)
        except BaseException:
            # The others stop after their batches: nobody waits for whole ranges of a run that has failed.
            self._store.fence(run)
            raise
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)
        self._tell(run, watch, now=True)
        return findings

    def _carved(self, run: Run, layout: Layout) -> Iterator[Range]:
        low, done, left = run.carved, run.carved_all, run.rows_expected
        while not done:
            share = max(FEWEST_CHUNKS, left // (2 * self._workers * self._settings.chunk))
            count = min(share, CHUNKS_IN_RANGE) * self._settings.chunk
            high = self._shop.keyring.connections.use(partial(_boundary, layout, low, count))
            left -= count
            carved = self._store.carve(run, low, high)
            if carved is None:
                return
            yield carved
            low = high

    def _start(self, run: Run, job: Job, seq: int) -> Future[Outcome]:
        task = Task(self._place, job, run.id, run.generation, seq, self._settings)
        return self._executor.submit(self._shop.work if self._place is None else work_elsewhere, task)

    def _finished(
        self, run: Run, future: Future[Outcome], findings: Findings, lost: dict[int, int], seq: int
    ) -> bool:
        """Take in a worker's outcome; ``False`` where its range is to be taken up again."""
        try:
            outcome = future.result()
        except KeyUnavailable as error:
            outcome = Outcome(seq, failure=str(error), lost=True)
        if outcome.failure:
            lost[seq] = lost.get(seq, 0) + 1
            if not outcome.lost or lost[seq] > LOST_CONNECTIONS:
                raise RunInterrupted(f"run {run.id} of {run.description} stopped: {outcome.failure}")
            time.sleep(2 ** lost[seq])
            return False
        findings.refused |= outcome.refused
        findings.skipped += outcome.skipped
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
            time.sleep(LOOK_EVERY)

    def _tell(self, run: Run, watch: Watcher, *, now: bool = False) -> None:
        counts = self._store.counts(run.id)
        watch.tell(counts.rows_read, counts.rows_changed, now=now)


def _boundary(layout: Layout, low: str | None, count: int, connection: Connection) -> str | None:
    """Return the key that is so many rows further on, or else the last one; ``None`` if there is none."""
    after = layout.unpack(low)
    found = connection.execute(layout.boundary(after, count)).first()
    found = found or connection.execute(layout.last(after)).first()
    return None if found is None else layout.pack(found)
