"""``cmk status``: every tenant's key at a glance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import age, console, iso, note, plural, print_json, safe, tenant_label
from sqlalchemy_cmk.cli.rows import counted_columns, described_column, mixed_columns, rows_table
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.examination import KekUse
from sqlalchemy_cmk.keys.model import TenantState, TenantStatus
from sqlalchemy_cmk.scope import key_owner

STYLES = {TenantState.OK: "green", TenantState.REVOKED: "bold red", TenantState.SHREDDED: "magenta"}
SHORT_VERSION = 8

Uses = dict[str, list[KekUse]]


@click.command()
@click.option("--tenant", metavar="NAME", help="This tenant only; '' is the platform.")
@click.option("--state", type=click.Choice([str(one) for one in TenantState]), help="Tenants in this state.")
@click.option(
    "--newest", is_flag=True, help="Ask each KEK for its newest version, and tell who needs a rewrap."
)
@click.option(
    "--rows",
    is_flag=True,
    help="Count the rows of every sealed column: not sealed yet, or under retired DEKs. Reads whole tables.",
)
@as_json
@with_keyring
def status(
    keyring: Keyring, tenant: str | None, state: str | None, newest: bool, rows: bool, as_json: bool
) -> None:
    """Show every tenant's KEK, DEKs and state. No KEK is asked, unless with --newest."""
    lines = [
        line
        for line in keyring.status()
        if (tenant is None or line.tenant == key_owner(tenant)) and state in (None, line.state)
    ]
    uses = _uses(keyring, {line.tenant for line in lines}) if newest else None
    columns = list(counted_columns(keyring)) if rows else None
    if as_json:
        tenants = [_described(line, uses) for line in lines]
        described = [described_column(one) for one in columns or ()]
        print_json(tenants if columns is None else {"tenants": tenants, "columns": described})
        return
    _show(lines, uses, filtered=tenant is not None or state is not None)
    if columns:
        console().print(rows_table(columns))
    elif columns is None:
        for where in mixed_columns(keyring):
            note(f"{where} accepts plaintext: cmk status --rows counts the rows that are not sealed yet.")


def _show(lines: list[TenantStatus], uses: Uses | None, *, filtered: bool) -> None:
    if lines:
        console().print(_table(lines, uses))
        console().print(_summary(lines, uses))
    else:
        note("No such tenant has keys here." if filtered else "No tenant has keys here.")


def _uses(keyring: Keyring, tenants: set[str]) -> Uses:
    uses: Uses = {}
    for use in keyring.examination.kek_uses(tenants):
        uses.setdefault(use.tenant, []).append(use)
    return uses


def _described(line: TenantStatus, uses: Uses | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tenant": line.tenant,
        "owner": line.owner,
        "kek_uri": line.kek_uri,
        "versions": list(line.versions),
        "deks": {"active": line.active, "retired": line.retired},
        "state": str(line.state),
        "reason": line.reason,
        "state_since": iso(line.state_since),
        "seen_at": iso(line.seen_at),
    }
    if uses is not None:
        theirs = uses.get(line.tenant, [])
        described["newest"] = {use.kek_uri: use.newest for use in theirs}
        described["needs_rewrap"] = _needs_rewrap(theirs)
    return described


def _needs_rewrap(uses: list[KekUse]) -> bool | None:
    """Tell whether a rewrap is due; ``None`` where some KEK cannot tell and no other is due."""
    if any(use.stale for use in uses):
        return True
    return None if any(use.newest is None for use in uses) else False


def _table(lines: list[TenantStatus], uses: Uses | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("tenant", overflow="fold", min_width=8)
    table.add_column("owner", no_wrap=True)
    table.add_column("KEK", overflow="fold", min_width=14)
    table.add_column("version", no_wrap=True)
    if uses is not None:
        table.add_column("newest", no_wrap=True)
    table.add_column("DEKs\nact/ret", justify="center", no_wrap=True)
    table.add_column("state", overflow="fold", min_width=14)
    table.add_column("last seen", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line, uses))
    return table


def _cells(line: TenantStatus, uses: Uses | None) -> list[Text]:
    newest = [] if uses is None else [_newest(uses.get(line.tenant, []))]
    return [
        Text(tenant_label(line.tenant)),
        Text(line.owner),
        Text(safe(line.kek_uri)),
        _versions(line, uses),
        *newest,
        Text(f"{line.active}/{line.retired}"),
        _state(line, bool(uses and _needs_rewrap(uses.get(line.tenant, [])))),
        Text("never" if line.seen_at is None else f"{age(line.seen_at)} ago"),
    ]


def _versions(line: TenantStatus, uses: Uses | None) -> Text:
    versions = list(line.versions) if uses is None else [one.version for one in uses.get(line.tenant, [])]
    return Text("\n".join(_short(version) for version in versions) or "-")


def _newest(uses: list[KekUse]) -> Text:
    """Return the newest version for each version in use, on the same line as that."""
    lines = []
    for use in uses:
        if use.newest is None:
            lines.append(Text("?", style="yellow"))
        elif use.stale:
            lines.append(Text(_short(use.newest), style="yellow"))
        else:
            lines.append(Text("same", style="dim"))
    return Text("\n").join(lines) if lines else Text("-")


def _short(version: str) -> str:
    return safe(version[:SHORT_VERSION])


def _state(line: TenantStatus, needs_rewrap: bool) -> Text:
    cell = Text.assemble((str(line.state), STYLES[line.state]), (f" for {age(line.state_since)}", "dim"))
    if line.reason:
        cell.append(f"\n{safe(line.reason)}")
    if needs_rewrap:
        cell.append("\nneeds a rewrap", style="bold yellow")
    return cell


def _summary(lines: list[TenantStatus], uses: Uses | None) -> Text:
    states = Counter(line.state for line in lines)
    counts = ", ".join(f"{states[one]} {one}" for one in TenantState if states[one])
    summary = f"{plural(len(lines), 'tenant')}: {counts}"
    due = sum(_needs_rewrap(uses.get(line.tenant, [])) is True for line in lines) if uses else 0
    return Text(f"{summary}; {due} to rewrap: run cmk rewrap" if due else summary)
