"""``cmk audit``: shows the trail of key events, and verifies it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import BinaryIO

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import console, note, plural, print_json, print_line, tenant_label
from sqlalchemy_cmk.keys import AuditEntry, AuditVerdict, Heads, Keyring
from sqlalchemy_cmk.keys.audit.export import FORMATS, ExportFormat, check_export
from sqlalchemy_cmk.runtime.printable import printable
from sqlalchemy_cmk.scope import key_owner

LAST = 50
MAX_HEADS = 100_000_000  # bytes; a million tenants with long names
_SECONDS = len("2026-11-24T08:51:03")


@click.group()
def audit() -> None:
    """Show the trail of key events, and verify it."""


@audit.command()
@click.option("--tenant", metavar="NAME", help="This tenant's events only; '' is the platform.")
@click.option(
    "--last",
    type=click.IntRange(min=0),
    default=LAST,
    show_default=True,
    metavar="N",
    help="The last N events; 0 for all.",
)
@as_json
@with_keyring
def show(keyring: Keyring, tenant: str | None, last: int, as_json: bool) -> None:
    """Show key events, oldest first. Times are in UTC.

    \b
    Examples:
      cmk audit show --tenant acme --last 10
      cmk audit show --last 0 --json
    """
    entries = keyring.audit.entries(None if tenant is None else key_owner(tenant), last or None)
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif entries:
        console().print(_table(entries))
    else:
        note("The trail holds no such event.")


@audit.command()
@click.option("--tenant", metavar="NAME", required=True, help="Whose events.")
@click.option("--since", type=click.DateTime(), help="Leave out what was before this time, in UTC.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="jsonl",
    show_default=True,
    help="The rows as they are stored, or events of OCSF (class API Activity).",
)
@as_json
@with_keyring
def export(keyring: Keyring, tenant: str, since: datetime | None, form: ExportFormat, as_json: bool) -> None:
    """Print one tenant's events as lines of JSON, for its owner to keep.

    No other tenant's events are in them. cmk audit check-export checks them without the database.

    \b
    Examples:
      cmk audit export --tenant acme --since 2026-01-01 > acme.jsonl
    """
    for line in keyring.audit.export(tenant, since, form=form):
        click.echo(line)


@audit.command("check-export")
@click.argument("file", type=click.File("rb"))
@click.option("--earlier", type=click.File("rb"), help="An export that was made before.")
@as_json
def check_exported(file: BinaryIO, earlier: BinaryIO | None, as_json: bool) -> None:
    """Check what cmk audit export printed; neither a keyring nor the database is needed.

    Finds rows that were changed or removed, and with --earlier also those that have changed since then.

    \b
    Examples:
      cmk audit check-export acme.jsonl --earlier acme-before.jsonl
    """
    end, problems = check_export(file, earlier)
    if as_json:
        print_json({**asdict(end), "problems": problems})
    else:
        for problem in problems:
            print_line(Text.assemble(("problem  ", "bold red"), printable(problem)))
        if not problems:
            print_line(Text(f"{plural(end.rows, 'event')} of {tenant_label(end.tenant)} hold", style="green"))
    if problems:
        click.get_current_context().exit(ExitCode.FOUND)


@audit.command()
@as_json
@with_keyring
def heads(keyring: Keyring, as_json: bool) -> None:
    """Print where the trail and every tenant's keys stand, as JSON, to be kept outside.

    Keep it where the database's administrators cannot write, and give it to verify --heads later. It has the
    record key's HMAC: anyone who holds the record key can verify it.

    \b
    Examples:
      cmk audit heads > heads.json
    """
    click.echo(keyring.audit.heads().to_json())


@audit.command()
@click.option(
    "--heads",
    type=click.File("rb"),
    metavar="FILE",
    help="What cmk audit heads printed earlier; - reads it from stdin.",
)
@as_json
@with_keyring
def verify(keyring: Keyring, heads: BinaryIO | None, as_json: bool) -> None:
    """Verify every link and every MAC of the trail.

    With heads that were kept outside, also whether the trail was cut back or rewritten, and whether a
    tenant's keys were put back to an older state. Ends with exit code 1 if something is found.

    \b
    Examples:
      cmk audit verify
      cmk audit verify --heads heads.json
    """
    noted = None if heads is None else Heads.from_json(heads.read(MAX_HEADS))
    verdict = keyring.audit.verify(noted)
    if as_json:
        print_json(asdict(verdict))
    else:
        _print(verdict)
    if verdict.problems:
        click.get_current_context().exit(ExitCode.FOUND)


@audit.command()
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is written to the trail.")
@as_json
@with_keyring
def adopt(keyring: Keyring, reason: str, as_json: bool) -> None:
    """Vouch for the rows so far, and authenticate the trail from here on.

    Once for a trail that began without a record key, and for a broken one when it was looked into.

    \b
    Examples:
      cmk audit adopt --reason "the first record key"
    """
    keyring.audit.adopt(reason)
    (row,) = keyring.audit.entries(last=1)
    if as_json:
        print_json(asdict(row))
    else:
        print_line(f"the trail is authenticated from row {row.seq} on")


def _print(verdict: AuditVerdict) -> None:
    print_line(f"rows  {verdict.rows}")
    print_line(f"head  {verdict.head}")
    for problem in verdict.problems:
        print_line(Text.assemble(("problem  ", "bold red"), printable(problem)))
    if not verdict.problems:
        held = "every link and every MAC holds" if verdict.authenticated else "every link holds"
        print_line(Text(held, style="green"))
    if not verdict.authenticated:
        note("Without a record key anyone who can write to the database can write a trail that holds.")


def _table(entries: Iterable[AuditEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("row", justify="right", no_wrap=True)
    table.add_column("at (UTC)", no_wrap=True)
    for name in ("event", "tenant", "KEK", "actor", "detail"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        at = entry.at[:_SECONDS].replace("T", " ")
        about = (at, entry.event, tenant_label(entry.tenant), entry.kek_uri, entry.actor, entry.detail)
        table.add_row(str(entry.seq), *(Text(printable(one)) for one in about))
    return table
