"""``cmk local``: switches KEKs of a local key file off and on, as their owner would in a vault."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import next_step
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime.printable import printable

SCHEME = "local:"

name_argument = click.argument("name", metavar="NAME")


@click.group()
def local() -> None:
    """Switch KEKs in a local key file off and on, for demos and rehearsals."""


@local.command()
@name_argument
@as_json
@with_keyring
def disable(keyring: Keyring, name: str, as_json: bool) -> None:
    """Take access to a local KEK away: every use is KeyRevoked until it is enabled.

    Running processes notice within revalidate_after.

    \b
    Examples:
      cmk local disable acme
      cmk local disable local:acme
    """
    kek_uri, provider = _found(keyring, name)
    provider.disable(kek_uri)
    print_result(as_json, {"kek_uri": kek_uri, "enabled": False}, f"{printable(kek_uri)} is disabled")
    next_step(as_json, "local", "enable", name)


@local.command()
@name_argument
@as_json
@with_keyring
def enable(keyring: Keyring, name: str, as_json: bool) -> None:
    """Give access to a local KEK back.

    \b
    Examples:
      cmk local enable acme
    """
    kek_uri, provider = _found(keyring, name)
    provider.enable(kek_uri)
    print_result(as_json, {"kek_uri": kek_uri, "enabled": True}, f"{printable(kek_uri)} is enabled")
    next_step(as_json, "status", "--kek", kek_uri)


def _found(keyring: Keyring, name: str) -> tuple[str, LocalKeyProvider]:
    kek_uri = name if name.startswith(SCHEME) else f"{SCHEME}{name}"
    provider = keyring.provider_of(kek_uri)
    if not isinstance(provider, LocalKeyProvider):
        raise ConfigurationError(f"{kek_uri} is not in a local key file: its owner switches it off and on")
    return kek_uri, provider
