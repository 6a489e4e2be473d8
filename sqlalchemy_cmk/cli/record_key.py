"""``cmk record-key``: shows, rotates and adopts the key that authenticates the key tables."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import note, plural
from sqlalchemy_cmk.keys import Keyring


@click.group("record-key")
def record_key() -> None:
    """Show, rotate or adopt the key that authenticates the key tables."""


@record_key.command()
@as_json
@with_keyring
def show(keyring: Keyring, as_json: bool) -> None:
    """Show where the record key is kept, and how many tenants are not authenticated by it.

    \b
    Examples:
      cmk record-key show
    """
    keys, origin = keyring.record_key.keys()
    others = len(keyring.store.tenants_not_under(keys[0].id))
    result = {
        "origin": origin,
        "current": keys[0].id,
        "others": [one.id for one in keys[1:]],
        "not_under": others,
    }
    old = f", with {plural(len(keys) - 1, 'older key')}" if keys[1:] else ""
    print_result(
        as_json,
        result,
        f"Record key {keys[0].id} is in {origin}{old}; {plural(others, 'tenant')} not authenticated by it.",
    )


@record_key.command()
@as_json
@with_keyring
def rotate(keyring: Keyring, as_json: bool) -> None:
    """Authenticate every tenant's keys by a new record key.

    A record key in a file is made here, and the old one is dropped at the end. Elsewhere put the new key
    before the old one in every process first, and take the old one away afterwards.

    \b
    Examples:
      cmk record-key rotate
    """
    done = keyring.record_key.rotate()
    keys, origin = keyring.record_key.keys()
    text = f"{plural(done, 'tenant')} authenticated by record key {keys[0].id} in {origin}."
    if keys[1:]:
        text += " Now take the older keys away there."
    print_result(as_json, {"origin": origin, "current": keys[0].id, "tenants": done}, text)


@record_key.command()
@click.option("--yes", is_flag=True, help="Adopt without asking.")
@as_json
@with_keyring
def adopt(keyring: Keyring, yes: bool, as_json: bool) -> None:
    """Authenticate what the key tables hold now, whatever it is.

    For an installation that is given its first record key, or has lost it.

    \b
    Examples:
      cmk status --limit 0
      cmk record-key adopt
    """
    keys, origin = keyring.record_key.keys()
    others = keyring.store.tenants_not_under(keys[0].id)
    if others and not yes:
        note("What somebody else has written into the key tables will be authenticated with the rest.")
        note("Look at cmk status first: every KEK has to be the one you expect.")
        click.confirm(f"Authenticate the keys of {plural(len(others), 'tenant')}?", abort=True, err=True)
    done = keyring.record_key.adopt()
    result = {"origin": origin, "current": keys[0].id, "tenants": done}
    print_result(as_json, result, f"{plural(done, 'tenant')} authenticated by record key {keys[0].id}.")
