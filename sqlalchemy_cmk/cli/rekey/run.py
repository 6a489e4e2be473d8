"""``cmk rekey run`` and ``verify``: rows brought under the active DEKs, and every value opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.cli.exits import ExitCode, exit_code
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import note, plural, print_line, safe, tenant_label
from sqlalchemy_cmk.cli.rekey.jobs import chosen_jobs, job_options
from sqlalchemy_cmk.cli.rekey.progress import print_event, watching
from sqlalchemy_cmk.cli.rekey.workers import crew
from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey import Job, Rekey, Report
from sqlalchemy_cmk.rekey.conflicts import first_line
from sqlalchemy_cmk.rekey.crew import Watch
from sqlalchemy_cmk.rekey.engine import CHUNK, RATE

MOST_SHOWN = 20


@click.command()
@job_options
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    metavar="N",
    default=RATE,
    show_default=True,
    help="At most N rows a second; 0 for as many as go.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    metavar="N",
    default=CHUNK,
    show_default=True,
    help="Rows in a transaction.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes work at once: 1, or with --dask as many as the cluster has threads.",
)
@click.option("--dask", metavar="ADDRESS", help="Work on the cluster of this scheduler, tcp://HOST:8786.")
@click.option("--dry-run", is_flag=True, help="Open every value that would be read, and write nothing.")
@as_json
@with_keyring
def run(
    keyring: Keyring,
    tables: tuple[str, ...],
    columns: tuple[str, ...],
    tenant: str | None,
    rate: float,
    chunk: int,
    workers: int | None,
    dask: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Re-encrypt rows under their tenants' active DEKs.

    A run that was stopped, by Ctrl-C or a crash, goes on where it stopped when the same command is run again.
    Ends with exit code 1 where rows are left: damaged, of a tenant whose KEK refuses, or written meanwhile.
    """
    jobs = chosen_jobs(keyring, tables, columns, tenant)
    if dry_run:
        _work(
            jobs,
            as_json,
            lambda job, watch: _tried(Rekey(keyring, chunk=chunk), job, watch),
            "would be changed",
        )
        return
    place = click.get_current_context().find_root().obj
    with crew(workers, dask) as made:
        rekey = Rekey(
            keyring,
            chunk=chunk,
            rate=rate or None,
            workers=made.workers,
            executor=made.executor,
            place=place if made.executor else None,
        )
        _work(jobs, as_json, rekey.run, "changed")


@click.command()
@job_options
@as_json
@with_keyring
def verify(
    keyring: Keyring, tables: tuple[str, ...], columns: tuple[str, ...], tenant: str | None, as_json: bool
) -> None:
    """Open every value, and list what does not open. Nothing is written."""
    rekey = Rekey(keyring)
    _work(chosen_jobs(keyring, tables, columns, tenant), as_json, rekey.verify, "changed")


def _tried(rekey: Rekey, job: Job, watch: Watch) -> Report:
    found = rekey.verify(job, watch)
    return Report("", job.description, found.rows_read, rekey.rows_left(job), 0, found.damaged, found.refused)


def _work(jobs: list[Job], as_json: bool, act: Callable[[Job, Watch], Report], verb: str) -> None:
    """Do each job and tell what came of it; one that cannot be done does not keep the others from it."""
    code = ExitCode.DONE
    if not jobs and not as_json:
        note("There is no sealed column to work on.")
    for job in jobs:
        try:
            with watching(job, as_json) as watch:
                report = act(job, watch)
        except ConfigurationError as error:
            if len(jobs) == 1 and not as_json:
                raise
            code = max(code, _tell_error(job, error, as_json))
            continue
        except (CmkError, SQLAlchemyError) as error:
            told = error if isinstance(error, CmkError) else _refusal(error)
            if not as_json:
                raise told from None
            click.get_current_context().exit(_tell_error(job, told, as_json))
        _tell(report, job, as_json, verb)
        code = code if report.ok else max(code, ExitCode.FOUND)
    if code is not ExitCode.DONE:
        click.get_current_context().exit(code)


def _refusal(error: SQLAlchemyError) -> KeyUnavailable:
    """Return what the database said: not the statement, nor the lines on which drivers show values."""
    return KeyUnavailable(f"the database ended the run, which can be taken up again: {first_line(error)}")


def _tell_error(job: Job, error: CmkError, as_json: bool) -> ExitCode:
    if as_json:
        print_event("error", table=job.fullname, error=type(error).__name__, message=str(error))
    else:
        note(f"{job.fullname}: {error}")
    return exit_code(error)


def described(report: Report) -> dict[str, Any]:
    """Return a report for a program."""
    return {**asdict(report), "ok": report.ok}


def _tell(report: Report, job: Job, as_json: bool, verb: str) -> None:
    if as_json:
        print_event("report", table=job.fullname, **described(report))
        return
    parts = [f"{plural(report.rows_read, 'row')} read", f"{report.rows_changed} {verb}"]
    parts += [f"{report.rows_left} left"] if report.rows_left else []
    run = f" (run {report.run_id})" if report.run_id else ""
    print_line(f"{safe(report.description)}: {', '.join(parts)}{run}")
    tell_damage(report)


def tell_damage(report: Report) -> None:
    """Name the values that did not open, and the tenants whose keys could not be had."""
    for one in report.damaged[:MOST_SHOWN]:
        note(f"  damaged: row {one.key}, {one.column}: {one.reason}")
    if len(report.damaged) > MOST_SHOWN:
        note(f"  and {len(report.damaged) - MOST_SHOWN} more: cmk rekey report {report.run_id} --json")
    for tenant, why in report.refused.items():
        note(f"  left alone, {tenant_label(tenant)}: {why}")
