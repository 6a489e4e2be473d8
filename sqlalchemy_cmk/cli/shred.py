"""``cmk shred``: destroys a tenant's keys, after its name was typed again."""

from __future__ import annotations

from pathlib import Path

import click

from sqlalchemy_cmk.cli.certified import certificate_option, certified
from sqlalchemy_cmk.cli.options import as_json, print_result, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import next_step, note, plural, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner


@click.command()
@tenant_argument
@click.option(
    "--confirm", metavar="NAME", help="The tenant's name again, for scripts; without it cmk prompts."
)
@certificate_option
@as_json
@with_keyring
def shred(
    keyring: Keyring, tenant: str, confirm: str | None, certificate: Path | None, as_json: bool
) -> None:
    """Destroy a tenant's keys. This cannot be undone.

    Every wrapping of its DEKs is destroyed, so that its data can never be opened again.

    \b
    Examples:
      cmk shred acme
      cmk shred acme --confirm acme
    """
    name = key_owner(tenant)
    typed = asked(keyring, name) if confirm is None else confirm
    with certified(keyring, name, "shred", certificate):
        keyring.lifecycle.shred(name, confirm=typed)
    print_result(as_json, {"tenant": name, "state": "shredded"}, f"{tenant_label(name)} is shredded")
    next_step(as_json, "audit", "show", "--tenant", name)


def asked(keyring: Keyring, name: str) -> str:
    """Ask for the name of a tenant whose DEKs are to be destroyed, and return what was typed."""
    line = next(iter(keyring.status([name])), None)
    if line is None:
        raise unknown_tenant(keyring.store, name)
    if name == PLATFORM_TENANT:
        return ""  # the platform is refused, without a prompt
    note(
        f"This destroys the {plural(line.active + line.retired, 'DEK')} of {tenant_label(name)}. "
        "No value that is sealed under them can ever be opened again."
    )
    typed: str = click.prompt("Type the tenant's name", default="", show_default=False, err=True)
    return typed
