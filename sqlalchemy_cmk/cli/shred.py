"""``cmk shred``: a tenant's keys are destroyed, once its name was typed back."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.options import as_json, tell, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import note, plural, tenant_label
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner


@click.command()
@tenant_argument
@click.option(
    "--confirm", metavar="NAME", help="The tenant's name again, for scripts; without it you are asked."
)
@as_json
@with_keyring
def shred(keyring: Keyring, tenant: str, confirm: str | None, as_json: bool) -> None:
    """Destroy a tenant's keys for ever.

    Every wrapping of its DEKs is destroyed: its data is gone, and that is the point.
    """
    name = key_owner(tenant)
    typed = _asked(keyring, name) if confirm is None else confirm
    keyring.lifecycle.shred(name, confirm=typed)
    tell(as_json, {"tenant": name, "state": "shredded"}, f"{tenant_label(name)} is shredded")


def _asked(keyring: Keyring, name: str) -> str:
    line = next((one for one in keyring.status() if one.tenant == name), None)
    if line is None:
        raise ConfigurationError(f"no tenant {name!r} has keys here")
    if name == PLATFORM_TENANT:
        return ""  # refused below, without a question
    note(
        f"This destroys the {plural(line.active + line.retired, 'DEK')} of {tenant_label(name)}. "
        "Every value that is sealed under them is gone for ever; nobody can bring it back."
    )
    typed: str = click.prompt("Type the tenant's name", default="", show_default=False, err=True)
    return typed
