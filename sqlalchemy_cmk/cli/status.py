"""``cmk status``: shows the state of every tenant's keys."""

from __future__ import annotations

from typing import Any

import click

from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import console, iso, note, print_json
from sqlalchemy_cmk.cli.rows import counted_columns, described_column, mixed_columns, rows_table
from sqlalchemy_cmk.cli.status_table import StatusTable, Uses, needs_rewrap
from sqlalchemy_cmk.keys import KekUse, Keyring
from sqlalchemy_cmk.keys.model import TenantState, TenantStatus
from sqlalchemy_cmk.scope import key_owner


@click.command()
@click.option("--tenant", metavar="NAME", help="This tenant only; '' is the platform.")
@click.option("--state", type=click.Choice([str(one) for one in TenantState]), help="Tenants in this state.")
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
    newest: bool,
    stored: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """Show every tenant's KEK, DEKs and state. Each KEK version in use unwraps one DEK, and none is shown."""
    if stored and newest:
        raise click.UsageError("--stored asks no KEK, and --newest does: give one of them")
    # The KEKs are asked first: what they answer is part of the state.
    uses = None if stored else _uses(keyring, tenant, newest)
    lines = [
        line
        for line in keyring.status()
        if (tenant is None or line.tenant == key_owner(tenant)) and state in (None, line.state)
    ]
    columns = list(counted_columns(keyring)) if rows else None
    if as_json:
        tenants = [_described(line, uses, newest) for line in lines]
        described = [described_column(one) for one in columns or ()]
        print_json(tenants if columns is None else {"tenants": tenants, "columns": described})
        return
    if lines:
        table = StatusTable(keyring, uses, newest=newest)
        console().print(table.of(lines))
        console().print(table.summary(lines))
    else:
        filtered = tenant is not None or state is not None
        note("No such tenant has keys here." if filtered else "No tenant has keys here.")
    if columns:
        console().print(rows_table(columns))
    elif columns is None:
        for accepts in mixed_columns(keyring):
            note(f"{accepts}: cmk status --rows counts the rows that are not sealed yet.")


def _uses(keyring: Keyring, tenant: str | None, newest: bool) -> Uses:
    uses: Uses = {}
    for use in keyring.kek_uses(None if tenant is None else {key_owner(tenant)}, newest=newest):
        uses.setdefault(use.tenant, []).append(use)
    return uses


def _described(line: TenantStatus, uses: Uses | None, newest: bool) -> dict[str, Any]:
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
    theirs = [] if uses is None else uses.get(line.tenant, [])
    if uses is not None:
        described["failures"] = [_failure(use) for use in theirs if use.failure is not None]
    if newest:
        described["newest"] = {use.kek_uri: use.newest for use in theirs}
        described["needs_rewrap"] = needs_rewrap(theirs)
    return described


def _failure(use: KekUse) -> dict[str, str]:
    failed = {"error": type(use.failure).__name__, "message": str(use.failure)}
    return {"kek_uri": use.kek_uri, "version": use.version, **failed}
