"""``cmk rewrap``: wraps DEKs by the newest versions of their KEKs, after those were rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import note, plural, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.rewrapping import RewrapReport
from sqlalchemy_cmk.keys.model import TenantState


@click.command()
@click.argument("tenant", required=False)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="At most N DEKs per second, so that vaults do not throttle.",
)
@as_json
@with_keyring
def rewrap(keyring: Keyring, tenant: str | None, rate: float | None, as_json: bool) -> None:
    """Wrap DEKs by the newest KEK versions.

    Of one tenant, or of all. A run that was stopped continues where it stopped. Ends with exit code 1 if a
    tenant's KEK refuses or cannot be reached; the other tenants are rewrapped.
    """
    with _progress(1 if tenant is not None else _living(keyring)) as advance:
        report = keyring.lifecycle.rewrap(tenant, rate=rate, progress=advance)
    result = {"tenants": report.tenants, "rewrapped": report.rewrapped, "failed": report.failed}
    print_result(as_json, result, _sentence(report))
    if report.failed:
        if not as_json:
            for name, reason in report.failed.items():
                note(f"{tenant_label(name)}: {reason}")
        click.get_current_context().exit(ExitCode.FOUND)


def _living(keyring: Keyring) -> int:
    states = keyring.count()
    return states.total() - states[TenantState.SHREDDED]


@contextmanager
def _progress(tenants: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on stderr, if that is a terminal."""
    columns = (TextColumn("rewrapping"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("", total=tenants)
        yield lambda: bar.advance(task)


def _sentence(report: RewrapReport) -> str:
    done = (
        f"{plural(report.rewrapped, 'DEK')} rewrapped, "
        f"{plural(report.tenants, 'tenant')} under the newest versions"
    )
    return f"{done}, {len(report.failed)} failed" if report.failed else done
