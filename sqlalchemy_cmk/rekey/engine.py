"""The engine's face: :class:`Rekey` runs jobs, pauses them, and checks what they left."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, select

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.audit import LONGEST_DETAIL
from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.rekey.batches import Batches
from sqlalchemy_cmk.rekey.crew import Crew, Watch, Watcher
from sqlalchemy_cmk.rekey.job import Job, Move
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.left import count_left, rows_expected
from sqlalchemy_cmk.rekey.records import Run, RunState
from sqlalchemy_cmk.rekey.report import MOST_DAMAGED, Damaged, Report
from sqlalchemy_cmk.rekey.worker import Settings, Workshop

T = TypeVar("T")

CHUNK = 2000
RATE = 10_000.0
MOST_PASSES = 4


class Rekey:
    """Moves rows from old DEKs to the active ones, seals plain columns, and opens sealed ones for good.

    It runs beside the application: a row is changed only if it is still as it was read, so that whoever else
    writes it wins. What is done is committed with the rows. A run that was killed goes on where it stopped
    when the same job is run again.

    Args:
        keyring: opens the DEKs; its connections are used, never the application's.
        chunk: rows in one transaction.
        rate: at most so many rows a second in all, so that the application keeps its pace; ``None`` for
            as many as go.
        workers: how many ranges of the table are worked on at once.
        executor: where workers run; by default in threads of this process. Any
            :class:`concurrent.futures.Executor`, of processes or of a cluster, takes ``place``.
        place: ``MODULE:ATTRIBUTE`` where workers in other processes find their keyring, as ``cmk`` does.

    Raises:
        ConfigurationError: an option is out of its bounds, or ``executor`` comes without ``place``.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        chunk: int = CHUNK,
        rate: float | None = RATE,
        workers: int = 1,
        executor: Executor | None = None,
        place: str | None = None,
    ) -> None:
        if chunk < 1 or workers < 1 or (rate is not None and rate <= 0):
            raise ConfigurationError("chunk and workers are at least 1, and rate is more than 0, or None")
        if executor is not None and place is None:
            raise ConfigurationError(
                'workers in other processes open their own keys: give place="MODULE:ATTRIBUTE" of the keyring'
            )
        self._keyring = keyring
        self._chunk = chunk
        self._settings = Settings(chunk, None if rate is None else rate / workers, ahead=workers == 1)
        self._workers = workers
        self._executor = executor
        self._place = place
        self._shop = Workshop(keyring)
        self._store = self._shop.store

    def run(self, job: Job, progress: Watch | None = None) -> Report:
        """Do a job, or go on with it, and return what came of it.

        Values that do not open are listed, left as they are, and stop nothing. Nor do rows of a tenant whose
        KEK refuses or cannot be reached.

        Args:
            job: what is to be done.
            progress: called about twice a second.

        Raises:
            ConfigurationError: the table has no primary key or lacks a column.
            RunInterrupted: the database failed (a full disk, say), or another process has taken the run over.
            KeyRevoked: the job is for one tenant, and its KEK refuses; likewise :class:`KeyUnavailable`.
        """
        if job.tenant is not None:
            self._keyring.warm([job.tenant])
        layout, expected = self._using(
            job, lambda layout, connection: (layout, rows_expected(layout, connection))
        )
        run = self._store.take_up(job, expected)
        self._shop.begin(run.id, layout)
        watch = Watcher(progress, run.rows_expected)
        with ExitStack() as stack:
            executor = self._executor or stack.enter_context(ThreadPoolExecutor(self._workers))
            return self._passes(run, layout, watch, executor)

    def rows_left(self, job: Job) -> int:
        """Count the rows that still need a job; this reads the whole table, and opens no key."""
        return self._using(job, lambda layout, connection: count_left(self._keyring, layout, connection))

    def verify(self, job: Job, progress: Watch | None = None) -> Report:
        """Open every value that a job has written, or would have to read, and list what does not open.

        Nothing is written. Of a job into other columns the targets are opened.
        """
        checked = _written(job)

        def work(layout: Layout, connection: Connection) -> Report:
            watch = Watcher(progress, rows_expected(layout, connection))
            return self._verified(layout, connection, watch)

        return self._using(checked, work)

    def runs(self) -> list[Run]:
        """Return every run that is recorded, oldest first."""
        return self._store.runs()

    def report(self, run_id: str) -> Report:
        """Return what a run has come to; ``rows_left`` is not counted here.

        Raises:
            ConfigurationError: there is no such run.
        """
        run, counts = self._store.run(run_id), self._store.counts(run_id)
        damaged = self._store.damaged(run_id)
        return Report(run_id, run.description, counts.rows_read, counts.rows_changed, 0, damaged)

    def pause(self, run_id: str) -> bool:
        """Have every worker of a run stop after its batch; ``False`` where it is not running."""
        return self._store.set_state(self._store.run(run_id).id, RunState.RUNNING, RunState.PAUSED)

    def resume(self, run_id: str) -> bool:
        """Let a paused run go on; where its process is gone, run the job again."""
        return self._store.set_state(self._store.run(run_id).id, RunState.PAUSED, RunState.RUNNING)

    def _passes(self, run: Run, layout: Layout, watch: Watcher, executor: Executor) -> Report:
        job = layout.job
        count = partial(count_left, self._keyring, layout)
        crew = Crew(self._shop, executor, self._workers, self._place, self._settings)
        before = None
        while True:
            earlier = self._store.counts(run.id)
            findings = crew.go_through(run, layout, watch)
            left, counts = self._keyring.connections.use(count), self._store.counts(run.id)
            damaged = self._store.damaged(run.id)
            explained = counts.unchanged - earlier.unchanged
            if left <= explained or left == before or run.passes >= MOST_PASSES:
                break
            if job.in_place and not findings.skipped:
                # Another process may go on sealing under a DEK until it has seen that it was retired.
                time.sleep(self._keyring.revalidate_after)
            before = left
            run = self._store.begin_pass(run)
        self._store.end(run)
        self._note(job, counts.rows_changed)
        # Rows of a shredded tenant stay as they are, for ever; into another column they cannot be copied.
        refused = self._living(findings.refused) if job.in_place else findings.refused
        return Report(run.id, job.description, counts.rows_read, counts.rows_changed, left, damaged, refused)

    def _note(self, job: Job, rows: int) -> None:
        detail = f"{job.description}: {rows} rows"[:LONGEST_DETAIL]
        self._keyring.audit.soon(AuditEvent("reencrypt", job.tenant or "", "", "", "", detail))

    def _living(self, refused: dict[str, str]) -> dict[str, str]:
        """Leave out shredded tenants: their values are not meant to open."""
        tenants = self._keyring.database.tables.tenants
        query = select(tenants.c.tenant).where(tenants.c.state == TenantState.SHREDDED)
        gone = set(self._keyring.database.run(lambda c: c.execute(query).scalars().all()))
        return {name: reason for name, reason in refused.items() if name not in gone}

    def _verified(self, layout: Layout, connection: Connection, watch: Watcher) -> Report:
        batches = Batches(self._keyring, layout.job, layout, only_check=True)
        read, damaged, refused = 0, list[Damaged](), dict[str, str]()
        for batch in batches.read(connection, None, None, self._chunk):
            read += batch.rows
            damaged += batch.damaged[: MOST_DAMAGED - len(damaged)]
            refused |= batch.refused
            watch.tell(read, 0)
        return Report("", layout.job.description, read, 0, 0, tuple(damaged), self._living(refused))

    def _using(self, job: Job, work: Callable[[Layout, Connection], T]) -> T:
        return self._keyring.connections.use(lambda connection: work(Layout(job, connection), connection))


def _written(job: Job) -> Job:
    """Return the job whose values are those that a job writes; where it writes them plain, those it reads."""
    moves = tuple(
        Move(one.target, one.target, one.seals, one.seals)
        if one.seals_sealed
        else Move(one.source, one.source, one.opens, one.opens)
        for one in job.moves
    )
    return replace(job, moves=moves)
