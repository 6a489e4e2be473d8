"""``cmk audit``: read the trail of key events, and check that it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import console, note, print_json, print_line, safe, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.audit_chain import AuditEntry, AuditVerdict
from sqlalchemy_cmk.scope import key_owner

LAST = 50
_SECONDS = len("2026-11-24T08:51:03")


@click.group()
def audit() -> None:
    """Read the trail of key events, and check it."""


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
    """Show key events, oldest first. Moments are in UTC."""
    entries = keyring.audit.entries(None if tenant is None else key_owner(tenant), last or None)
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif entries:
        console().print(_table(entries))
    else:
        note("The trail holds no such event.")


def _hash(ctx: click.Context, parameter: click.Parameter, noted: str | None) -> str | None:
    if noted is not None and not re.fullmatch("[0-9a-fA-F]{64}", noted):
        raise click.BadParameter("it is the 64 hexadecimal digits that an earlier verify called head")
    return noted and noted.lower()


@audit.command()
@click.option(
    "--noted", metavar="HASH", callback=_hash, help="A head noted earlier: it has to be in the trail still."
)
@as_json
@with_keyring
def verify(keyring: Keyring, noted: str | None, as_json: bool) -> None:
    """Check every link of the trail. Note the head elsewhere: it proves later that nothing was rewritten.

    Ends with exit code 1 where the trail is broken.
    """
    verdict = keyring.audit.verify(noted)
    if as_json:
        print_json(asdict(verdict))
    else:
        _print(verdict)
    if verdict.problems:
        click.get_current_context().exit(ExitCode.FOUND)


def _print(verdict: AuditVerdict) -> None:
    print_line(f"rows  {verdict.rows}")
    print_line(f"head  {verdict.head}")
    for problem in verdict.problems:
        print_line(Text.assemble(("problem  ", "bold red"), safe(problem)))
    if not verdict.problems:
        print_line(Text("every link holds", style="green"))


def _table(entries: Iterable[AuditEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("row", justify="right", no_wrap=True)
    table.add_column("at (UTC)", no_wrap=True)
    for name in ("event", "tenant", "KEK", "actor", "detail"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        moment = entry.at[:_SECONDS].replace("T", " ")
        about = (moment, entry.event, tenant_label(entry.tenant), entry.kek_uri, entry.actor, entry.detail)
        table.add_row(str(entry.seq), *(Text(safe(one)) for one in about))
    return table
