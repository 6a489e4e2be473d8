"""Progress of a run: a bar on stderr for people, or lines of JSON on stdout for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from sqlalchemy_cmk.rekey import Job, Progress, ProgressCallback
from sqlalchemy_cmk.runtime.printable import printable


class PaceColumn(ProgressColumn):
    """A column of the progress bar: rows per second."""

    def render(self, task: Task) -> Text:
        """Return the pace that the run has reported."""
        return Text(f"{task.fields.get('pace', 0):,.0f} rows/s", style="dim")


@contextmanager
def showing_progress(job: Job, as_json: bool) -> Iterator[ProgressCallback]:
    """Give a callback that shows a job's progress."""
    if as_json:
        yield lambda progress: _print_progress(job, progress)
        return
    stderr = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        PaceColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(printable(job.description), total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.rows_read,
                total=progress.rows_expected,
                pace=progress.rows_a_second,
            )

        yield show


def print_event(event: str, **values: Any) -> None:
    """Print an event as one line of JSON."""
    click.echo(json.dumps({"event": event, **values}))


def _print_progress(job: Job, progress: Progress) -> None:
    print_event(
        "progress",
        table=job.fullname,
        rows_read=progress.rows_read,
        rows_changed=progress.rows_changed,
        rows_expected=progress.rows_expected,
        seconds=round(progress.seconds, 1),
        rows_a_second=round(progress.rows_a_second),
        seconds_left=None if progress.seconds_left is None else round(progress.seconds_left, 1),
    )
