"""Runs and their ranges in the key tables: what is done is committed with the rows that it was done to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256
from secrets import token_hex
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.errors import ConfigurationError, RunInterrupted
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.rekey.batch import Batch
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.records import Claim, Counts, Range, Run, RunState
from sqlalchemy_cmk.rekey.report import MAX_DAMAGED, Damaged
from sqlalchemy_cmk.rekey.tables import make_rekey_tables
from sqlalchemy_cmk.runtime.clock import as_utc, utc_now

COUNTED = ("rows_read", "rows_changed", "rows_refused", "rows_damaged")


class RunStore:
    """Reads and writes runs.

    Args:
        database: where the key tables are.
    """

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database
        tables = database.tables_of(make_rekey_tables)
        self._runs = tables.runs
        self._ranges = tables.ranges
        self._damaged = tables.damaged
        self._advance = _advance(self._runs, self._ranges)

    def take_up(self, job: Job, rows_expected: int) -> Run:
        """Begin a run of a job, or continue the one that was interrupted or paused."""
        runs = self._runs

        def work(connection: Connection) -> str:
            open_one = select(runs.c.id).where(runs.c.job == job.fingerprint, runs.c.open_slot == 1)
            found = connection.execute(open_one).scalar()
            if found is not None:
                generation = {"generation": runs.c.generation + 1, "state": RunState.RUNNING}
                connection.execute(update(runs).where(runs.c.id == found).values(generation))
                return str(found)
            new = {
                "id": token_hex(6),
                "job": job.fingerprint,
                "open_slot": 1,
                "table_name": job.fullname,
                "description": job.description,
                "state": RunState.RUNNING,
                "generation": 1,
                "passes": 1,
                "fully_split": 0,
                "rows_expected": rows_expected,
                "started_at": utc_now(),
            }
            connection.execute(insert(runs).values(new))
            return str(new["id"])

        try:
            return self.run(self._database.run(work))
        except IntegrityError:  # another process began it at the same moment
            return self.run(self._database.run(work))

    def run(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            ConfigurationError: there is none of this name.
        """
        found = self._read(self._runs.c.id == run_id)
        if not found:
            raise ConfigurationError(f"there is no run {run_id!r}")
        return found[0]

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        return self._read()

    def _read(self, *criteria: ColumnElement[bool]) -> list[Run]:
        columns = [self._runs.c[field.name] for field in fields(Run)]
        query = select(*columns).where(*criteria).order_by(self._runs.c.started_at, self._runs.c.id)
        return [_run(row) for row in self._database.run(lambda connection: connection.execute(query).all())]

    def set_state(self, run_id: str, before: RunState, after: RunState) -> bool:
        """Pause a run or let it go on; ``False`` if it is not in the state before."""
        here = (self._runs.c.id == run_id, self._runs.c.state == before)
        change = update(self._runs).where(*here).values(state=after)
        return self._database.run(lambda connection: connection.execute(change).rowcount) == 1

    def end(self, run: Run) -> None:
        """Note that a run has gone through its table for the last time.

        Raises:
            RunInterrupted: another process took the run over; likewise :meth:`begin_pass`, :meth:`split`.
        """
        self._change(run, {"state": RunState.DONE, "open_slot": None, "ended_at": utc_now()})

    def begin_pass(self, run: Run) -> Run:
        """Let a run go through its table once more."""
        self._change(run, {"passes": run.passes + 1, "split_up_to": None, "fully_split": 0})
        gone = delete(self._damaged).where(self._damaged.c.run_id == run.id)
        self._database.run(lambda connection: connection.execute(gone))
        return self.run(run.id)

    def fence(self, run: Run) -> None:
        """Have every worker of a run stop after its batch, for good."""
        runs = self._runs
        mine = (runs.c.id == run.id, runs.c.generation == run.generation)
        change = update(runs).where(*mine).values(generation=runs.c.generation + 1)
        self._database.run(lambda connection: connection.execute(change))

    def _change(self, run: Run, values: dict[str, Any]) -> None:
        mine = (self._runs.c.id == run.id, self._runs.c.generation == run.generation)
        change = update(self._runs).where(*mine).values(values)
        if self._database.run(lambda connection: connection.execute(change).rowcount) != 1:
            raise taken_over(run)

    def split(self, run: Run, low: str | None, high: str | None) -> Range | None:
        """Split off the range up to a key, or note that there are no more rows."""
        runs, ranges = self._runs, self._ranges
        mine = (runs.c.id == run.id, runs.c.generation == run.generation)

        def work(connection: Connection) -> Range | None:
            values: dict[str, Any] = {"fully_split": 1} if high is None else {"split_up_to": high}
            if connection.execute(update(runs).where(*mine).values(values)).rowcount != 1:
                raise taken_over(run)
            if high is None:
                return None
            last = select(func.coalesce(func.max(ranges.c.seq), 0)).where(ranges.c.run_id == run.id)
            seq = connection.execute(last).scalar_one() + 1
            counts = dict.fromkeys(("step", "done", *COUNTED), 0)
            bounds = {"low": low, "high": high, "position": low}
            connection.execute(insert(ranges).values(run_id=run.id, seq=seq, **bounds, **counts))
            return Range(seq, high, low, 0)

        return self._database.run(work)

    def open_ranges(self, run: Run) -> list[Range]:
        """Return the ranges that are not done."""
        c = self._ranges.c
        query = (
            select(c.seq, c.high, c.position, c.step).where(c.run_id == run.id, c.done == 0).order_by(c.seq)
        )
        rows = self._database.run(lambda connection: connection.execute(query).all())
        return [Range(*row) for row in rows]

    def range(self, run_id: str, seq: int) -> Range | None:
        """Return a range; ``None`` if it is done.

        Raises:
            ConfigurationError: there is no such range: the process that handed it out has another database.
        """
        c = self._ranges.c
        query = select(c.done, c.seq, c.high, c.position, c.step).where(c.run_id == run_id, c.seq == seq)
        row = self._database.run(lambda connection: connection.execute(query).first())
        if row is None:
            raise ConfigurationError(
                f"there is no range {seq} of run {run_id} in this worker's database: give the worker a "
                "keyring over the database of the run"
            )
        return None if row.done else Range(*row[1:])

    def advance(
        self, connection: Connection, claim: Claim, batch: Batch, position: str, changed: int
    ) -> bool:
        """Note in the caller's transaction that a batch is done; ``False`` if this worker is fenced off.

        Fenced off are workers of an earlier generation, of a paused run, and the slower of two that work on
        the same range: the caller rolls its rows back.
        """
        parameters = {
            "in_run": claim.run_id,
            "in_generation": claim.generation,
            "in_seq": claim.seq,
            "at_step": claim.step,
            "to": position,
            "read": batch.rows,
            "changed": changed,
            "refused": batch.rows_refused,
            "damaged": len({one.key for one in batch.damaged}),
        }
        advanced = connection.execute(self._advance, parameters).rowcount == 1
        if advanced:
            self._note_damaged(connection, claim.run_id, batch.damaged)
        return advanced

    def close_range(self, run_id: str, seq: int) -> None:
        """Note that a range is done."""
        ranges = self._ranges
        done = update(ranges).where(ranges.c.run_id == run_id, ranges.c.seq == seq).values(done=1)
        self._database.run(lambda connection: connection.execute(done))

    def counts(self, run_id: str) -> Counts:
        """Add up what the ranges of a run have done."""
        c = self._ranges.c
        sums = (func.coalesce(func.sum(c[name]), 0) for name in COUNTED)
        query = select(*sums).where(c.run_id == run_id)
        row = self._database.run(lambda connection: connection.execute(query).one())
        return Counts(*map(int, row))

    def damaged(self, run_id: str) -> tuple[Damaged, ...]:
        """Return the values that a run could not open."""
        c = self._damaged.c
        query = select(c.row_key, c.column_name, c.reason).where(c.run_id == run_id).order_by(c.row_key)
        limited = query.limit(MAX_DAMAGED)
        rows = self._database.run(lambda connection: connection.execute(limited).all())
        return tuple(Damaged(*row) for row in rows)

    def _note_damaged(self, connection: Connection, run_id: str, damaged: Sequence[Damaged]) -> None:
        table = self._damaged
        listed = select(func.count()).where(table.c.run_id == run_id)
        room = MAX_DAMAGED - connection.execute(listed).scalar_one() if damaged else 0
        for one in damaged[: max(0, room)]:
            name = sha256(f"{one.key}\n{one.column}".encode()).hexdigest()
            connection.execute(delete(table).where(table.c.run_id == run_id, table.c.row_hash == name))
            columns = {"row_key": one.key, "column_name": one.column, "reason": one.reason}
            connection.execute(insert(table).values(run_id=run_id, row_hash=name, **columns))


def taken_over(run: Run) -> RunInterrupted:
    """Return the error for a process whose run is no longer its own."""
    return RunInterrupted(f"run {run.id} was taken over by another process")


def _advance(runs: Table, ranges: Table) -> Update:
    """Return the statement that notes a batch; made once, since it is run for each."""
    current = exists().where(
        runs.c.id == bindparam("in_run"),
        runs.c.generation == bindparam("in_generation"),
        runs.c.state == RunState.RUNNING,
    )
    mine = (
        ranges.c.run_id == bindparam("in_run"),
        ranges.c.seq == bindparam("in_seq"),
        ranges.c.step == bindparam("at_step"),
    )
    sums = {name: ranges.c[name] + bindparam(name.removeprefix("rows_")) for name in COUNTED}
    moved = {"position": bindparam("to"), "step": ranges.c.step + 1}
    return update(ranges).where(*mine, current).values(moved | sums)


def _run(row: Any) -> Run:
    state, began, ended = RunState(row.state), as_utc(row.started_at), row.ended_at and as_utc(row.ended_at)
    values = {**row._mapping, "state": state, "fully_split": bool(row.fully_split)}
    return Run(**values | {"started_at": began, "ended_at": ended})
