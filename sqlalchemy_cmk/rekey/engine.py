"""The engine: :class:`Rekey` runs jobs, pauses them, and verifies what they wrote."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, MetaData, Table

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.stamping import MAX_DETAIL
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.batches import Batches
from sqlalchemy_cmk.rekey.clusters import refuse_open_cluster
from sqlalchemy_cmk.rekey.every_row import refuse_hidden
from sqlalchemy_cmk.rekey.job import Job, Move
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.read_back import needs_look
from sqlalchemy_cmk.rekey.records import Run, RunState
from sqlalchemy_cmk.rekey.remaining import count_remaining, rows_expected
from sqlalchemy_cmk.rekey.report import MAX_DAMAGED, Damaged, Report
from sqlalchemy_cmk.rekey.scheduler import ProgressCallback, ProgressReporter, RangeScheduler
from sqlalchemy_cmk.rekey.too_long import refuse_too_long
from sqlalchemy_cmk.rekey.worker import Settings, WorkerContext
from sqlalchemy_cmk.runtime.because import doing
from sqlalchemy_cmk.runtime.kinds import COUNT, FUNCTION, NUMBER, Kind, takes, text
from sqlalchemy_cmk.scope import PLATFORM_TENANT

T = TypeVar("T")

CHUNK = 2000
RATE = 10_000.0
MAX_PASSES = 4
JOB = Kind((Job,), "a Job, such as Job.of(Model)")
PROGRESS = FUNCTION.or_none
RUN_ID = text("a run's name, as in runs()")


class Rekey:
    """Moves rows from old DEKs to the active ones, seals plain columns, and opens sealed ones for good.

    It runs while the application writes: a row is changed only if it is still as it was read, so that other
    writers win. Progress is committed with the rows. A run that was killed goes on where it stopped when the
    same job is run again.

    Args:
        keyring: opens the DEKs; its connections are used, never the application's.
        chunk: rows in one transaction.
        rate: rows a second of all workers together, at most, so that the application keeps its pace; ``None``
            for no limit.
        workers: how many ranges of the table are worked on at once.
        executor: where workers run; by default in threads of this process. Any
            :class:`concurrent.futures.Executor`, of processes or of a cluster, needs ``keyring_path``.
        keyring_path: ``MODULE:ATTRIBUTE`` where workers in other processes find their keyring.
        insecure: whether ``executor`` may be of a Dask cluster without TLS, whose workers run the code of
            anyone who reaches it.

    Raises:
        ConfigurationError: an option is out of its bounds, ``executor`` comes without ``keyring_path``, or is
            of a Dask cluster without TLS.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        chunk: int = CHUNK,
        rate: float | None = RATE,
        workers: int = 1,
        executor: Executor | None = None,
        keyring_path: str | None = None,
        insecure: bool = False,
    ) -> None:
        KEYRING.require("keyring", keyring)
        COUNT.require("chunk", chunk)
        COUNT.require("workers", workers)
        NUMBER.or_none.require("rate", rate)
        if chunk < 1 or workers < 1 or (rate is not None and rate <= 0):
            raise ConfigurationError("chunk and workers are at least 1, and rate is more than 0, or None")
        if executor is not None and keyring_path is None:
            raise ConfigurationError(
                "workers in other processes open their own keys: give keyring_path='MODULE:ATTRIBUTE' of "
                "the keyring"
            )
        if not insecure:
            refuse_open_cluster(executor)
        self._keyring = keyring
        self._chunk = chunk
        self._settings = Settings(chunk, None if rate is None else rate / workers, ahead=workers == 1)
        self._workers = workers
        self._executor = executor
        self._keyring_path = keyring_path
        self._context = WorkerContext(keyring)
        self._store = self._context.store

    @takes(job=JOB, progress=PROGRESS)
    def run(self, job: Job, progress: ProgressCallback | None = None) -> Report:
        """Do a job, or continue it, and return its outcome.

        Values that do not open are listed and left as they are, and so are the rows of a tenant whose KEK
        refuses or cannot be reached; neither stops the run.

        The table is gone through again, four times in all at most, while rows remain that others wrote
        meanwhile. Before that a job in place sleeps for the keyring's ``revalidate_after``, five minutes by
        default: until then another process may go on sealing under the old DEK.

        Args:
            job: what is to be done.
            progress: called about twice a second.

        Raises:
            ConfigurationError: the table has no primary key or lacks a column, or the job is for a tenant
                that has neither keys nor rows to seal.
            RunInterrupted: the database failed (a full disk, say), or another process has taken the run over.
            KeyRevoked: the job is for one tenant, and its KEK refuses; likewise :class:`KeyUnavailable`.
        """
        if job.tenant is not None:
            # Makes none: a row that is sealed makes its tenant's keys.
            with doing("rekey"):
                for purpose in Purpose:
                    self._keyring.existing(job.tenant, purpose)
            self._refuse_unknown(job, job.tenant)
        layout, expected = self._keyring.connections.use(partial(_beforehand, job))
        run = self._store.take_up(job, expected)
        self._context.begin(run.id, layout)
        reporter = ProgressReporter(progress, run.rows_expected)
        with ExitStack() as stack:
            executor = self._executor or stack.enter_context(ThreadPoolExecutor(self._workers))
            return self._passes(run, layout, reporter, executor)

    @takes(job=JOB)
    def rows_left(self, job: Job) -> int:
        """Count the rows that still need a job; this reads the whole table, and opens no key."""
        return self._using(job, lambda layout, connection: count_remaining(self._keyring, layout, connection))

    @takes(job=JOB, progress=PROGRESS)
    def verify(self, job: Job, progress: ProgressCallback | None = None) -> Report:
        """Open every value that a job has written, or has to read, and list those that do not open.

        Nothing is written. Of a job into other columns the targets are opened.

        Raises:
            ConfigurationError: as :meth:`run`.
        """
        if job.tenant is not None:
            self._refuse_unknown(job, job.tenant)
        checked = _written(job)

        def work(layout: Layout, connection: Connection) -> Report:
            reporter = ProgressReporter(progress, rows_expected(layout, connection))
            return self._verified(layout, connection, reporter)

        return self._using(checked, work)

    @takes(job=JOB, progress=PROGRESS)
    def check(self, job: Job, progress: ProgressCallback | None = None) -> Report:
        """Read every plain value that a job is to seal, and list those that it could not bring back.

        Nothing is written, and the columns to write to need not be there yet. A column whose type loses
        nothing is not read at all.
        """

        def work(connection: Connection) -> Report:
            layout = Layout(job, connection, reads_only=True)
            if not any(needs_look(layout, move) for move in job.moves):
                return Report("", job.description, 0, 0, 0)
            reporter = ProgressReporter(progress, rows_expected(layout, connection))
            return self._verified(layout, connection, reporter)

        return self._keyring.connections.use(work)

    def runs(self) -> list[Run]:
        """Return every run that is recorded, oldest first."""
        return self._store.runs()

    @takes(run_id=RUN_ID)
    def report(self, run_id: str) -> Report:
        """Return the outcome of a run so far; ``rows_left`` is not counted here.

        Raises:
            ConfigurationError: there is no such run.
        """
        run, counts = self._store.run(run_id), self._store.counts(run_id)
        damaged = self._store.damaged(run_id)
        return Report(run_id, run.description, counts.rows_read, counts.rows_changed, 0, damaged)

    @takes(run_id=RUN_ID)
    def pause(self, run_id: str) -> bool:
        """Have every worker of a run stop after its batch; ``False`` if it is not running."""
        return self._store.set_state(self._store.run(run_id).id, RunState.RUNNING, RunState.PAUSED)

    @takes(run_id=RUN_ID)
    def resume(self, run_id: str) -> bool:
        """Let a paused run go on; where its process is gone, run the job again."""
        return self._store.set_state(self._store.run(run_id).id, RunState.PAUSED, RunState.RUNNING)

    def _refuse_unknown(self, job: Job, tenant: str) -> None:
        """Refuse a mistyped name. A tenant without keys may have rows that are not sealed yet."""
        store = self._keyring.store
        if tenant != PLATFORM_TENANT and not store.known([tenant]) and not self.rows_left(job):
            raise unknown_tenant(store, tenant, f", nor rows to seal in {job.fullname}")

    def _passes(self, run: Run, layout: Layout, progress: ProgressReporter, executor: Executor) -> Report:
        job = layout.job
        count = partial(count_remaining, self._keyring, layout)
        scheduler = RangeScheduler(self._context, executor, self._workers, self._keyring_path, self._settings)
        before = None
        while True:
            earlier = self._store.counts(run.id)
            result = scheduler.run_pass(run, layout, progress)
            remaining, counts = self._keyring.connections.use(count), self._store.counts(run.id)
            damaged = self._store.damaged(run.id)
            explained = counts.unchanged - earlier.unchanged
            if remaining <= explained or remaining == before or run.passes >= MAX_PASSES:
                break
            if job.in_place and not result.skipped:
                # Another process may go on sealing under a DEK until it has seen that it was retired.
                time.sleep(self._keyring.revalidate_after)
            before = remaining
            run = self._store.begin_pass(run)
        self._store.end(run)
        self._note(job, counts.rows_changed)
        # Rows of a shredded tenant stay as they are; into another column they cannot be copied.
        stays = job.in_place or job.makes_tokens
        refused = self._living(result.refused) if stays else result.refused
        description, read, changed = job.description, counts.rows_read, counts.rows_changed
        return Report(run.id, description, read, changed, remaining, damaged, refused)

    def _note(self, job: Job, rows: int) -> None:
        detail = f"{job.description}: {rows} rows"[:MAX_DETAIL]
        self._keyring.audit.soon(AuditEvent(EventKind.REENCRYPT, job.tenant or "", "", "", "", detail))

    def _living(self, refused: dict[str, str]) -> dict[str, str]:
        """Leave out shredded tenants: their values are not meant to open."""
        if not refused:
            return refused  # before the first migration there are no key tables to look into
        gone = self._keyring.store.shredded(refused)
        return {name: reason for name, reason in refused.items() if name not in gone}

    def _verified(self, layout: Layout, connection: Connection, progress: ProgressReporter) -> Report:
        batches = Batches(self._keyring, layout.job, layout, only_check=True)
        read, damaged, refused = 0, list[Damaged](), dict[str, str]()
        for batch in batches.read(connection, None, None, self._chunk):
            read += batch.rows
            damaged += batch.damaged[: MAX_DAMAGED - len(damaged)]
            refused |= batch.refused
            progress.report(read, 0)
        return Report("", layout.job.description, read, 0, 0, tuple(damaged), self._living(refused))

    def _using(self, job: Job, work: Callable[[Layout, Connection], T]) -> T:
        return self._keyring.connections.use(
            lambda connection: work(_layout_of_every_row(job, connection), connection)
        )


def _beforehand(job: Job, connection: Connection) -> tuple[Layout, int]:
    """Return the layout of a job's table, and about how many rows it has."""
    refuse_too_long(connection, job)
    layout = _layout_of_every_row(job, connection)
    return layout, rows_expected(layout, connection)


def _layout_of_every_row(job: Job, connection: Connection) -> Layout:
    refuse_hidden(connection, [Table(job.table, MetaData(), schema=job.schema)])
    connection.rollback()
    return Layout(job, connection)


def _written(job: Job) -> Job:
    """Return the job whose values are those that a job writes; where it writes them plain, those it reads."""
    moves = tuple(
        Move(one.target, one.target, one.seals, one.seals)
        if one.seals_sealed
        else Move(one.source, one.source, one.opens, one.opens, one.existing_row_columns)
        for one in job.moves
    )
    return replace(job, moves=moves)
