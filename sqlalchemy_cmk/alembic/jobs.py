"""Runs re-keying jobs from within a migration: on their own connections, with nothing uncommitted here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.configuration import keyring_of
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey import Job, Progress, Rekey, Report
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)
# Of what is no warning, the alembic.ini that Alembic writes shows its own loggers only.
_shown = logging.getLogger("alembic.sqlalchemy_cmk")

PROGRESS_SECONDS = 5


@contextmanager
def committed(operations: Operations) -> Iterator[None]:
    """Commit what the migration has done so far, and run the block with each statement by itself.

    Inside of another such block it changes nothing.

    Raises:
        ConfigurationError: the connection is in a transaction that Alembic has not begun and may not commit.
    """
    if operations.get_bind().get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        yield
        return
    with ExitStack() as stack:
        entered = True
        try:
            stack.enter_context(operations.migration_context.autocommit_block())
        except AssertionError:
            entered = False
        if not entered:
            raise ConfigurationError(
                "Alembic was given a connection that is in a transaction which it has not begun, and the "
                "engine, on connections of its own, would wait for it without end: hand over "
                "engine.connect(), not engine.begin(); in an env.py of several databases, which begins a "
                "transaction on each, write rec['transaction'] = conn, and give context.configure "
                "transaction_per_migration=True; likewise where code makes a MigrationContext itself"
            )
        yield


class ProgressLog:
    """Logs how far long work is, every few seconds: a migration is not to look stuck.

    Args:
        what: what is worked on, for the log.
        unit: what is counted, as in "rows".
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what = printable(what)
        self._unit = unit
        self._next = time.monotonic() + PROGRESS_SECONDS

    def say(self, done: int, expected: int) -> None:
        """Log how much is done, unless that was just said."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            _shown.info("%s: %d of about %d %s", self._what, done, expected, self._unit)


def run_job(operations: Operations, job: Job) -> Report:
    """Run a job to its end, while the application runs, at the rate of ``context.configure(rekey={...})``.

    Raises:
        TamperedError: values do not open; the others are done.
        KeyUnavailable: the KEKs of some tenants refuse or cannot be reached; the others are done.
    """
    context = operations.migration_context
    options: dict[str, Any] = dict(context.opts.get("rekey") or {})
    shown = ProgressLog(job.description, "rows")

    def tell(progress: Progress) -> None:
        shown.say(progress.rows_read, progress.rows_expected)

    with committed(operations):
        rekey = Rekey(keyring_of(context), **options)
        report = off_the_loop(partial(rekey.run, job, tell), place="long work")
    log.info(
        "%s: %d rows read, %d changed", printable(job.description), report.rows_read, report.rows_changed
    )
    report.require_opened("the column stays as it is", "the migration")
    return report
