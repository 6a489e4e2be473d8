"""Output of ``cmk``: results on stdout, for people or as JSON, and everything else on stderr.

Names, reasons and URIs come from databases and vaults. They are printed as plain text: their markup is not
interpreted, and their control characters do not reach the terminal.
"""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sqlalchemy_cmk.runtime.clock import utc_now
from sqlalchemy_cmk.runtime.printable import printable
from sqlalchemy_cmk.scope import PLATFORM_TENANT

PIPED_WIDTH = 100
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def console() -> Console:
    """Return the console for results: stdout, 100 columns wide if it is not a terminal."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPED_WIDTH
    return made


def print_line(line: str | Text) -> None:
    """Print one line without wrapping it, so that a URI can be copied from it; a text is escaped first."""
    console().print(printable(line) if isinstance(line, str) else line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    click.echo(json.dumps(value, indent=2))


def print_error(kind: str, message: str, as_json: bool, **more: str) -> None:
    """Print why a command failed: as JSON on stdout, with more for programs, or for people on stderr."""
    if as_json:
        print_json({"error": kind, "message": message, **more})
    else:
        click.echo(f"{click.style(kind, fg='red')}: {printable(' '.join(message.split()))}", err=True)


def note(message: str) -> None:
    """Print a message for people, which is not part of the result."""
    click.echo(printable(message), err=True)


def next_step(as_json: bool, *words: str) -> None:
    """Say to people which command comes next, so that they can copy it.

    Args:
        as_json: whether a program reads the result.
        words: the command's, without ``cmk``.
    """
    if not as_json:
        path = click.get_current_context().command_path.split()
        group = path[: path.index("cmk") + 1] if "cmk" in path else ["cmk"]  # under Flask: flask cmk
        note(f"next: {shlex.join([*group, *words])}")


def tenant_label(tenant: str) -> str:
    """Return a tenant's name as people read it."""
    return "(platform)" if tenant == PLATFORM_TENANT else printable(tenant)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def age(since: datetime) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = (utc_now() - since).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def iso(timestamp: datetime | None) -> str | None:
    """Return a timestamp as JSON holds it: ISO 8601, in UTC."""
    return None if timestamp is None else timestamp.astimezone(UTC).isoformat(timespec="seconds")
