"""``cmk rotate-dek``, ``add-wrapping`` and ``drop-wrapping``: change a tenant's keys."""

from __future__ import annotations

from pathlib import Path

import click

from sqlalchemy_cmk.cli.certified import certificate_option, certified
from sqlalchemy_cmk.cli.options import as_json, kek_argument, print_result, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import next_step, note, plural, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.runtime.printable import printable

DETERMINISTIC_CONSEQUENCE = (
    "Values of deterministic columns that are sealed from now on will not equal those sealed before: "
    "== and in_ miss the old rows, and unique=True accepts a value twice, until the rows are re-encrypted."
)


PURPOSES = [str(one) for one in (Purpose.RANDOMIZED, Purpose.DETERMINISTIC)]


@click.command("rotate-dek")
@tenant_argument
@click.option(
    "--purpose",
    type=click.Choice(PURPOSES),
    default=str(Purpose.RANDOMIZED),
    show_default=True,
    help="The DEK of randomized columns, or that of deterministic ones.",
)
@click.option("--yes", is_flag=True, help="Rotate the deterministic DEK without asking.")
@certificate_option
@as_json
@with_keyring
def rotate_dek(
    keyring: Keyring, tenant: str, purpose: str, yes: bool, certificate: Path | None, as_json: bool
) -> None:
    """Make a new active DEK for a tenant.

    The old one is retired, and still opens what it sealed.

    \b
    Examples:
      cmk rotate-dek acme
      cmk rotate-dek acme --purpose deterministic
    """
    if purpose == Purpose.DETERMINISTIC and not yes:
        note(DETERMINISTIC_CONSEQUENCE)
        click.confirm(f"Rotate the deterministic DEK of {tenant_label(tenant)}?", abort=True, err=True)
    with certified(keyring, tenant, "rotate-dek", certificate) as outcome:
        keyring.lifecycle.rotate_dek(tenant, purpose)
        outcome["purpose"] = purpose
    sentence = f"{tenant_label(tenant)} has a new active DEK for {purpose}"
    print_result(as_json, {"tenant": tenant, "purpose": purpose}, sentence)
    next_step(as_json, "rekey", "run", "--tenant", tenant)


@click.command("add-wrapping")
@tenant_argument
@kek_argument
@as_json
@with_keyring
def add_wrapping(keyring: Keyring, tenant: str, kek_uri: str, as_json: bool) -> None:
    """Wrap a tenant's DEKs by a second KEK as well.

    Any one of them opens. The tenant's data is closed only when access to both has been taken away.

    \b
    Examples:
      cmk add-wrapping acme https://acme-west.vault.azure.net/keys/clinic-kek
    """
    keyring.lifecycle.add_wrapping(tenant, kek_uri)
    sentence = f"{printable(kek_uri)} wraps every DEK of {tenant_label(tenant)} as well"
    print_result(as_json, {"tenant": tenant, "kek_uri": kek_uri, "wraps": True}, sentence)
    next_step(as_json, "status", "--tenant", tenant)


@click.command("drop-wrapping")
@tenant_argument
@kek_argument
@click.option("--yes", is_flag=True, help="Drop them without asking.")
@as_json
@with_keyring
def drop_wrapping(keyring: Keyring, tenant: str, kek_uri: str, yes: bool, as_json: bool) -> None:
    """Remove a KEK's wrappings from a tenant.

    Refused if no other KEK opens its DEKs.

    \b
    Examples:
      cmk drop-wrapping acme local:old
      cmk drop-wrapping acme local:old --yes
    """
    if not yes:
        question = f"Let {printable(kek_uri)} open no data of {tenant_label(tenant)} any more?"
        click.confirm(question, abort=True, err=True)
    dropped = keyring.lifecycle.drop_wrapping(tenant, kek_uri)
    what = f"the {plural(dropped, 'DEK')} of {tenant_label(tenant)}"
    sentence = f"{printable(kek_uri)} no longer wraps {what}"
    if not dropped:
        sentence = f"{printable(kek_uri)} wrapped no DEK of {tenant_label(tenant)}: nothing was done"
    result = {"tenant": tenant, "kek_uri": kek_uri, "wraps": False, "dropped": dropped}
    print_result(as_json, result, sentence)
    if dropped:
        next_step(as_json, "status", "--tenant", tenant)


@click.command("set-grace")
@tenant_argument
@click.argument("seconds", metavar="SECONDS|default")
@as_json
@with_keyring
def set_grace(keyring: Keyring, tenant: str, seconds: str, as_json: bool) -> None:
    """Set for how long an outage of a tenant's KEK is ridden out.

    0 closes the tenant's data within revalidate_after when its vault cannot be reached; "default" is the
    keyring's outage_grace.

    \b
    Examples:
      cmk set-grace acme 0
      cmk set-grace acme default
    """
    try:
        grace = None if seconds == "default" else float(seconds)
    except ValueError:
        raise click.BadParameter("give seconds, 0 or more, or default", param_hint="SECONDS") from None
    keyring.lifecycle.set_grace(tenant, grace)
    text = "the keyring's outage_grace" if grace is None else f"{grace:g} s"
    result = {"tenant": tenant, "outage_grace": grace}
    print_result(as_json, result, f"An outage of the KEK of {tenant_label(tenant)} is ridden out for {text}")
