"""What commands about many tenants share: a rate, a progress bar, and who failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.output import note, tenant_label

rate_option = click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="At most N DEKs per second, so that vaults do not throttle.",
)


@contextmanager
def progress_bar(doing: str, tenants: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on stderr, if that is a terminal; it gives what notes that a tenant is done."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("", total=tenants)
        yield lambda: bar.advance(task)


def exit_if_requested(requested: Mapping[str, str], as_json: bool) -> None:
    """Name the requests that wait for a second person, if there are any, and end the command."""
    if requested:
        if not as_json:
            for name, request in requested.items():
                note(
                    f"{tenant_label(name)}: request {request} waits for somebody else: cmk approve {request}"
                )
        click.get_current_context().exit(ExitCode.APPROVAL)


def exit_if_failed(failed: Mapping[str, str], as_json: bool) -> None:
    """Name the tenants that have failed, if there are any, and end the command."""
    if failed:
        if not as_json:
            for name, reason in failed.items():
                note(f"{tenant_label(name)}: {reason}")
        click.get_current_context().exit(ExitCode.FOUND)
