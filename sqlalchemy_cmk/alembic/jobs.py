"""Runs re-keying jobs from within a migration: on their own connections, with nothing uncommitted here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.configuration import keyring_of
from sqlalchemy_cmk.alembic.names import printable
from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.rekey import Job, Rekey, Report
from sqlalchemy_cmk.runtime.blocking import off_the_loop

log = logging.getLogger(__name__)


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
                "engine.connect(), not engine.begin(); where code makes a MigrationContext itself, give it "
                "transaction_per_migration=True"
            )
        yield


def run_job(operations: Operations, job: Job) -> Report:
    """Run a job to its end, while the application runs, at the rate of ``context.configure(rekey={...})``.

    Raises:
        TamperedError: values do not open; the others are done.
        KeyUnavailable: the KEKs of some tenants refuse or cannot be reached; the others are done.
    """
    context = operations.migration_context
    options: dict[str, Any] = dict(context.opts.get("rekey") or {})
    with committed(operations):
        rekey = Rekey(keyring_of(context), **options)
        report = off_the_loop(partial(rekey.run, job), place="long work")
    log.info(
        "%s: %d rows read, %d changed", printable(job.description), report.rows_read, report.rows_changed
    )
    if report.damaged:
        first = report.damaged[0]
        raise TamperedError(
            f"{job.description}: {len(report.damaged)} values do not open, and the column stays as it is; "
            f"the first is {printable(first.column)} of the row with key {printable(str(first.key))}: "
            f"{printable(first.reason)}"
        )
    if report.refused:
        tenant, why = next(iter(report.refused.items()))
        raise KeyUnavailable(
            f"{job.description}: rows of {len(report.refused)} tenants are left, the first {tenant!r}: "
            f"{why}; run the migration again when their KEKs serve"
        )
    return report
