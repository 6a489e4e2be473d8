"""``cmk assign``, ``rotate-dek``, ``add-wrapping``, ``drop-wrapping``: changes to a tenant's keys."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.options import as_json, kek_argument, tell, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import note, safe, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.scope import key_owner

FIXED_CONSEQUENCE = (
    "Values of deterministic columns that are sealed from now on will not equal those sealed before: "
    "== and in_ miss the old rows, and unique=True lets a value in twice, until the rows are re-encrypted."
)


@click.command()
@tenant_argument
@kek_argument
@click.option("--fresh-dek", is_flag=True, help="Also make a new active DEK, which no old backup holds.")
@as_json
@with_keyring
def assign(keyring: Keyring, tenant: str, kek_uri: str, fresh_dek: bool, as_json: bool) -> None:
    """Put a tenant's DEKs under a KEK.

    They are wrapped by that one alone. No data row is touched.
    """
    before = {line.tenant: line.kek_uri for line in keyring.status()}.get(key_owner(tenant))
    keyring.assign(tenant, kek_uri, fresh_dek=fresh_dek)
    result = {"tenant": tenant, "kek_uri": kek_uri, "before": before, "fresh_dek": fresh_dek}
    # A tenant's name that was mistyped is a new tenant.
    told = "it had no keys here until now" if before is None else f"before: {safe(before)}"
    tell(as_json, result, f"{tenant_label(tenant)} is under {safe(kek_uri)} ({told})")


@click.command("rotate-dek")
@tenant_argument
@click.option(
    "--purpose",
    type=click.Choice([str(one) for one in Purpose]),
    default=str(Purpose.SEAL),
    show_default=True,
    help="Which DEK: that of randomized columns, or that of deterministic ones.",
)
@click.option("--yes", is_flag=True, help="Rotate the fixed DEK without asking.")
@as_json
@with_keyring
def rotate_dek(keyring: Keyring, tenant: str, purpose: str, yes: bool, as_json: bool) -> None:
    """Make a new active DEK for a tenant.

    The old one is retired, and still opens what it sealed.
    """
    if purpose == Purpose.FIXED and not yes:
        note(FIXED_CONSEQUENCE)
        click.confirm(f"Rotate the fixed DEK of {tenant_label(tenant)}?", abort=True, err=True)
    keyring.lifecycle.rotate_dek(tenant, purpose)
    sentence = f"{tenant_label(tenant)} has a new active DEK for {purpose}"
    tell(as_json, {"tenant": tenant, "purpose": purpose}, sentence)


@click.command("add-wrapping")
@tenant_argument
@kek_argument
@as_json
@with_keyring
def add_wrapping(keyring: Keyring, tenant: str, kek_uri: str, as_json: bool) -> None:
    """Have a second KEK wrap a tenant's DEKs.

    Any one of them opens. Both have to be taken away for the tenant's data to be shut.
    """
    keyring.lifecycle.add_wrapping(tenant, kek_uri)
    sentence = f"{safe(kek_uri)} wraps every DEK of {tenant_label(tenant)} too"
    tell(as_json, {"tenant": tenant, "kek_uri": kek_uri, "wraps": True}, sentence)


@click.command("drop-wrapping")
@tenant_argument
@kek_argument
@as_json
@with_keyring
def drop_wrapping(keyring: Keyring, tenant: str, kek_uri: str, as_json: bool) -> None:
    """Take a KEK's wrappings from a tenant.

    Refused where no other KEK opens its DEKs.
    """
    keyring.lifecycle.drop_wrapping(tenant, kek_uri)
    sentence = f"{safe(kek_uri)} wraps no DEK of {tenant_label(tenant)}"
    tell(as_json, {"tenant": tenant, "kek_uri": kek_uri, "wraps": False}, sentence)
