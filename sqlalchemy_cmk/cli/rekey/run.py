"""``cmk rekey run`` and ``verify``: seal rows under the active DEKs, and check that every value opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.cli.certified import certificate_option, certified
from sqlalchemy_cmk.cli.exits import ExitCode, exit_code
from sqlalchemy_cmk.cli.options import as_json, keyring_path, with_keyring
from sqlalchemy_cmk.cli.output import next_step, note, plural, print_line, tenant_label
from sqlalchemy_cmk.cli.rekey.jobs import chosen_jobs, job_options, rate_option
from sqlalchemy_cmk.cli.rekey.progress import print_event, showing_progress
from sqlalchemy_cmk.cli.rekey.workers import worker_pool
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey import Job, ProgressCallback, Rekey, Report
from sqlalchemy_cmk.rekey.engine import CHUNK
from sqlalchemy_cmk.runtime.printable import printable

MAX_SHOWN = 20


@click.command()
@job_options
@rate_option
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    metavar="N",
    default=CHUNK,
    show_default=True,
    help="Rows in one transaction.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Worker processes. Default: 1, or with --dask the number of the cluster's threads.",
)
@click.option("--dask", metavar="ADDRESS", help="Work on the cluster of this scheduler, tls://HOST:8786.")
@click.option(
    "--dask-insecure",
    is_flag=True,
    help="Accept a cluster without TLS: anyone who reaches it runs code where keys are open.",
)
@click.option("--dry-run", is_flag=True, help="Open every value that would be read, and write nothing.")
@certificate_option
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
    dask_insecure: bool,
    dry_run: bool,
    certificate: Path | None,
    as_json: bool,
) -> None:
    """Re-encrypt rows under their tenants' active DEKs.

    A run that was stopped, by Ctrl-C or a crash, continues where it stopped when the same command is run
    again. Ends with exit code 1 if rows are left: damaged, of a tenant whose KEK refuses, or written
    meanwhile.

    \b
    Examples:
      cmk rekey run --tenant acme
      cmk rekey run --table patients --column ssn --rate 5000
      cmk rekey run --workers 4
      cmk rekey run --dry-run
    """
    if dry_run and certificate is not None:
        raise click.UsageError("A dry run changes nothing that could be certified: leave one of them out.")
    jobs = chosen_jobs(keyring, tables, columns, tenant)
    if dry_run:
        tried = Rekey(keyring, chunk=chunk)
        _end(_work(jobs, as_json, lambda job, progress: _tried(tried, job, progress), "would be changed"))
        return
    path = keyring_path()
    if path is None and (dask is not None or (workers or 1) > 1):
        raise click.UsageError(
            "Other processes load the keyring from its place: run cmk --keyring MODULE:ATTRIBUTE rekey run, "
            "with a function there that makes the application and returns its keyring."
        )
    with (
        certified(keyring, tenant, "rekey run", certificate) as outcome,
        worker_pool(workers, dask, dask_insecure) as made,
    ):
        rekey = Rekey(
            keyring,
            chunk=chunk,
            rate=rate or None,
            workers=made.workers,
            executor=made.executor,
            keyring_path=path if made.executor else None,
            insecure=dask_insecure,
        )
        code = _work(jobs, as_json, rekey.run, "changed", outcome)
        if code not in (ExitCode.DONE, ExitCode.FOUND):
            _end(code)  # nothing is certified of a run that has failed
    _end(code)
    next_step(as_json, "rekey", "verify", *(() if tenant is None else ("--tenant", tenant)))


@click.command()
@job_options
@as_json
@with_keyring
def verify(
    keyring: Keyring, tables: tuple[str, ...], columns: tuple[str, ...], tenant: str | None, as_json: bool
) -> None:
    """Open every value, and list those that do not open. Nothing is written.

    \b
    Examples:
      cmk rekey verify --table patients
    """
    rekey = Rekey(keyring)
    _end(_work(chosen_jobs(keyring, tables, columns, tenant), as_json, rekey.verify, "changed"))
    next_step(as_json, "drop-retired", *(() if tenant is None else (tenant,)))


def _tried(rekey: Rekey, job: Job, progress: ProgressCallback) -> Report:
    found = rekey.verify(job, progress)
    return Report("", job.description, found.rows_read, rekey.rows_left(job), 0, found.damaged, found.refused)


def _work(
    jobs: list[Job],
    as_json: bool,
    act: Callable[[Job, ProgressCallback], Report],
    verb: str,
    outcome: dict[str, str | int] | None = None,
) -> ExitCode:
    """Run each job and print its report; a job that cannot be run does not keep the others from it."""
    code = ExitCode.DONE
    if not jobs and not as_json:
        note("There is no sealed column to work on.")
    for job in jobs:
        try:
            with showing_progress(job, as_json) as progress:
                report = act(job, progress)
        except ConfigurationError as error:
            if len(jobs) == 1 and not as_json:
                raise
            code = max(code, _print_error(job, error, as_json))
            continue
        except (CmkError, SQLAlchemyError) as error:
            known = error if isinstance(error, CmkError) else _database_error(error)
            if not as_json:
                raise known from None
            return _print_error(job, known, as_json)
        _print_report(report, job, as_json, verb)
        if outcome is not None:
            outcome |= _certified(job, report)
        code = code if report.ok else max(code, ExitCode.FOUND)
    return code


def _end(code: ExitCode) -> None:
    if code is not ExitCode.DONE:
        click.get_current_context().exit(code)


def _certified(job: Job, report: Report) -> dict[str, str | int]:
    """Return what a certificate says of a run."""
    counts = {
        "rows changed": report.rows_changed,
        "rows left": report.rows_left,
        "damaged": len(report.damaged),
    }
    return {f"{job.fullname}: {name}": count for name, count in counts.items()}


def _database_error(error: SQLAlchemyError) -> KeyUnavailable:
    """Return the database's error without the statement and the lines on which drivers show values."""
    return KeyUnavailable(
        f"the database ended the run; run the command again to continue it: {first_line(error)}"
    )


def _print_error(job: Job, error: CmkError, as_json: bool) -> ExitCode:
    if as_json:
        print_event("error", table=job.fullname, error=type(error).__name__, message=str(error))
    else:
        note(f"{job.fullname}: {error}")
    return exit_code(error)


def described(report: Report) -> dict[str, Any]:
    """Return a report as JSON holds it."""
    return {**asdict(report), "ok": report.ok}


def _print_report(report: Report, job: Job, as_json: bool, verb: str) -> None:
    if as_json:
        print_event("report", table=job.fullname, **described(report))
        return
    parts = [f"{plural(report.rows_read, 'row')} read", f"{report.rows_changed} {verb}"]
    parts += [f"{report.rows_left} left"] if report.rows_left else []
    run = f" (run {report.run_id})" if report.run_id else ""
    print_line(f"{printable(report.description)}: {', '.join(parts)}{run}")
    print_damage(report)


def print_damage(report: Report) -> None:
    """Print the values that did not open, and the tenants whose keys could not be opened."""
    for one in report.damaged[:MAX_SHOWN]:
        note(f"  damaged: row {one.key}, {one.column}: {one.reason}")
    if len(report.damaged) > MAX_SHOWN:
        note(f"  and {len(report.damaged) - MAX_SHOWN} more: cmk rekey report {report.run_id} --json")
    for tenant, why in report.refused.items():
        note(f"  skipped, {tenant_label(tenant)}: {why}")
