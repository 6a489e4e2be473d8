"""``cmk lock`` and ``cmk unlock``: close a tenant's keys in every process, and let them be used again."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.options import as_json, print_result, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import next_step, tenant_label
from sqlalchemy_cmk.keys import Keyring

reason_option = click.option(
    "--reason", metavar="TEXT", default="", help="Why, for the status and the audit trail."
)


@click.command()
@tenant_argument
@reason_option
@as_json
@with_keyring
def lock(keyring: Keyring, tenant: str, reason: str, as_json: bool) -> None:
    """Close a tenant's keys now, whatever its KEK says.

    Every process drops them within seconds, and opens none until cmk unlock.

    \b
    Examples:
      cmk lock acme --reason "case 4711"
    """
    keyring.lock(tenant, reason=reason)
    print_result(as_json, {"tenant": tenant, "state": "locked"}, f"{tenant_label(tenant)} is locked")
    next_step(as_json, "unlock", tenant)


@click.command()
@tenant_argument
@reason_option
@as_json
@with_keyring
def unlock(keyring: Keyring, tenant: str, reason: str, as_json: bool) -> None:
    """Let a tenant's keys be used again.

    \b
    Examples:
      cmk unlock acme --reason "case 4711 is closed"
    """
    keyring.unlock(tenant, reason=reason)
    print_result(as_json, {"tenant": tenant, "locked": False}, f"{tenant_label(tenant)} is not locked")
    next_step(as_json, "status", "--tenant", tenant)
