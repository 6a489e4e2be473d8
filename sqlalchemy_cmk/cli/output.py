"""What ``cmk`` prints: results on stdout, for people or as JSON; everything else on stderr.

Names, reasons and URIs come from databases and vaults. They are printed as plain text: no markup of theirs is
obeyed, and no control character of theirs reaches the terminal.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sqlalchemy_cmk.scope import PLATFORM_TENANT

PIPED_WIDTH = 100
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def console() -> Console:
    """Return where people read results: stdout, 100 columns wide where it is no terminal."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPED_WIDTH
    return made


def print_line(line: str | Text) -> None:
    """Print one line, however long: a URI can be copied from it."""
    console().print(line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print the result for a program."""
    click.echo(json.dumps(value, indent=2))


def print_error(kind: str, message: str, as_json: bool) -> None:
    """Print why a command was not done: as JSON on stdout, for people on stderr."""
    if as_json:
        print_json({"error": kind, "message": message})
    else:
        click.echo(f"{click.style(kind, fg='red')}: {safe(' '.join(message.split()))}", err=True)


def note(message: str) -> None:
    """Tell a person something that is no result."""
    click.echo(safe(message), err=True)


def safe(text: str) -> str:
    """Return a text with control characters written out."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def tenant_label(tenant: str) -> str:
    """Return a tenant's name as people read it."""
    return "(platform)" if tenant == PLATFORM_TENANT else safe(tenant)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def age(moment: datetime) -> str:
    """Return how long ago a moment was, in its largest unit."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def iso(moment: datetime | None) -> str | None:
    """Return a moment for a program."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
