"""``cmk status``: shows the state of tenants' keys, page by page."""

from __future__ import annotations

from typing import Any

import click

from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import console, iso, note, print_json, print_line
from sqlalchemy_cmk.cli.requests import described_request, request_lines
from sqlalchemy_cmk.cli.rows import counted_columns, described_column, mixed_columns, rows_table
from sqlalchemy_cmk.cli.status_page import Choice, StatusPage, read_page
from sqlalchemy_cmk.cli.status_table import StatusTable, needs_rewrap
from sqlalchemy_cmk.keys import KekUse, Keyring
from sqlalchemy_cmk.keys.lifecycle.unknown import refuse_unknown
from sqlalchemy_cmk.keys.model import TenantState, TenantStatus
from sqlalchemy_cmk.scope import key_owner

LIMIT = 100


@click.command()
@click.option("--tenant", metavar="NAME", help="This tenant only; '' is the platform.")
@click.option("--state", type=click.Choice([str(one) for one in TenantState]), help="Tenants in this state.")
@click.option("--kek", metavar="URI", help="Tenants of whose DEKs this KEK wraps any.")
@click.option("--after", metavar="NAME", help="Tenants after this one: the next page.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LIMIT,
    show_default=True,
    metavar="N",
    help="At most N tenants; 0 for all.",
)
@click.option(
    "--newest",
    is_flag=True,
    help="Ask each KEK for its newest version too, and show which tenants need a rewrap.",
)
@click.option("--stored", is_flag=True, help="Ask no KEK: show what the last process found that asked them.")
@click.option(
    "--rows",
    is_flag=True,
    help="Count the rows of every sealed column by the state of their DEKs. Reads whole tables.",
)
@as_json
@with_keyring
def status(
    keyring: Keyring,
    tenant: str | None,
    state: str | None,
    kek: str | None,
    after: str | None,
    limit: int,
    newest: bool,
    stored: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """Show tenants' KEKs, DEKs and states, page by page.

    Each KEK version that the tenants of the page use unwraps one DEK, and none is shown.

    \b
    Examples:
      cmk status
      cmk status --state revoked --limit 0 --json
      cmk status --newest
      cmk status --kek local:acme
    """
    if stored and newest:
        raise click.UsageError("--stored asks no KEK, and --newest does: give one of them")
    if tenant is not None:
        refuse_unknown(keyring.store, [key_owner(tenant)])
    choice = Choice(tenant, state, kek, after, limit)
    page = read_page(keyring, choice, stored=stored, newest=newest)
    columns = list(counted_columns(keyring)) if rows else None
    waiting = keyring.approvals.pending(tenant)
    if as_json:
        counted = {} if columns is None else {"columns": [described_column(one) for one in columns]}
        requests = {"requests": list(map(described_request, waiting))}
        print_json(_described_page(page, newest) | counted | requests)
        return
    if page.lines:
        table = StatusTable(keyring, page, newest=newest)
        console().print(table.lines())
        console().print(table.summary())
    else:
        note("No such tenant has keys here." if choice.is_narrowed else "No tenant has keys here.")
    for line in (line for one in waiting for line in request_lines(one)):
        print_line(line)
    if columns:
        console().print(rows_table(columns))
    elif columns is None:
        for accepts in mixed_columns(keyring):
            note(f"{accepts}: cmk status --rows counts the rows that are not sealed yet.")


def _described_page(page: StatusPage, newest: bool) -> dict[str, Any]:
    return {
        "tenants": [_described(line, page, newest) for line in page.lines],
        "states": {str(one): page.states[one] for one in TenantState if page.states[one]},
        "verified": page.whole,
        "next": page.next,
    }


def _described(line: TenantStatus, page: StatusPage, newest: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tenant": line.tenant,
        "owner": line.owner,
        "kek_uri": line.kek_uri,
        "keks": [{"kek_uri": one.kek_uri, "versions": list(one.versions)} for one in line.keks],
        "deks": {"active": line.active, "retired": line.retired},
        "state": str(line.state),
        "reason": line.reason,
        "state_since": iso(line.state_since),
        "seen_at": iso(line.seen_at),
    }
    theirs = page.uses_of(line)
    if page.uses is not None:
        described["failures"] = [_failure(use) for use in theirs if use.failure is not None]
    if newest:
        described["newest"] = {use.kek_uri: use.newest for use in theirs}
        described["needs_rewrap"] = needs_rewrap(theirs)
    return described


def _failure(use: KekUse) -> dict[str, str]:
    failed = {"error": type(use.failure).__name__, "message": str(use.failure)}
    return {"kek_uri": use.kek_uri, "version": use.version, **failed}
