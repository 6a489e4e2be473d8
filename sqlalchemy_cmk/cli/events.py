"""``cmk events``: sends key events to webhooks, and shows those that wait or were given up."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import console, iso, note, plural, print_json, tenant_label
from sqlalchemy_cmk.keys import Delivery, Keyring
from sqlalchemy_cmk.runtime.printable import printable

LAST = 100

tenant_option = click.option(
    "--tenant", metavar="NAME", help="This tenant's events only; '' is the platform."
)


@click.group()
def events() -> None:
    """Send key events to webhooks, and show those that wait."""


@events.command()
@as_json
@with_keyring
def send(keyring: Keyring, as_json: bool) -> None:
    """Send what is due now, beside the processes that do.

    For a job of cron or systemd, where no process of the application runs all the time. Ends with exit code 1
    if an attempt failed or an event was given up.

    \b
    Examples:
      cmk events send
    """
    report = keyring.events.send()
    counts = f"{report.sent} sent, {report.failed} failed, {report.dead} given up, {report.waiting} waiting"
    print_result(as_json, asdict(report), counts)
    if report.failed or report.dead:
        click.get_current_context().exit(ExitCode.FOUND)


@events.command("list")
@tenant_option
@click.option("--dead", is_flag=True, help="Those that were given up, and not those that wait.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LAST,
    show_default=True,
    metavar="N",
    help="The first N; 0 for all.",
)
@as_json
@with_keyring
def show(keyring: Keyring, tenant: str | None, dead: bool, limit: int, as_json: bool) -> None:
    """Show the events that wait for webhooks, oldest first. Times are in UTC.

    Row is the event's number in cmk audit show.

    \b
    Examples:
      cmk events list --tenant acme
      cmk events list --dead --json
    """
    read = keyring.events.dead if dead else keyring.events.waiting
    found = read(tenant, limit=limit or None)
    if as_json:
        print_json([{**asdict(one), "since": _iso(one.since), "next_at": _iso(one.next_at)} for one in found])
    elif found:
        console().print(_table(found))
    else:
        note("No event was given up." if dead else "No event waits for a webhook.")


@events.command()
@tenant_option
@as_json
@with_keyring
def retry(keyring: Keyring, tenant: str | None, as_json: bool) -> None:
    """Let events that were given up wait again, for three days more.

    \b
    Examples:
      cmk events retry --tenant acme
    """
    found = keyring.events.retry(tenant)
    print_result(as_json, {"waiting": found}, f"{plural(found, 'event')} will be sent again")


def _table(found: list[Delivery]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("row", justify="right", no_wrap=True)
    for name in ("tenant", "webhook"):
        table.add_column(name, overflow="fold")
    table.add_column("attempts", justify="right")
    table.add_column("next at (UTC)", no_wrap=True)
    table.add_column("problem", overflow="fold")
    for one in found:
        about = (str(one.seq), tenant_label(one.tenant), one.webhook, str(one.attempts))
        at = (_iso(one.next_at) or "")[:19].replace("T", " ") if one.state == "waiting" else "never"
        table.add_row(*(Text(printable(text)) for text in (*about, at, one.problem)))
    return table


def _iso(at: float) -> str | None:
    return iso(datetime.fromtimestamp(at, UTC))
