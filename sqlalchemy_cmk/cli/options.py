"""Options that commands share: the keyring, ``--json``, and printing a result for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from sqlalchemy_cmk.cli.output import print_json, print_line
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.loading import load_keyring
from sqlalchemy_cmk.runtime.because import because

P = ParamSpec("P")
R = TypeVar("R")

VARIABLE = "CMK_KEYRING"
_KEYRING = f"{__name__}.keyring"

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, also for errors.")
tenant_argument = click.argument("tenant")
kek_argument = click.argument("kek_uri")
because_option = click.option(
    "--because",
    "reason",
    metavar="TEXT",
    help="Why, for the audit trail: a case's number, say. Some changes may need it.",
)


def use_keyring(ctx: click.Context, keyring: Keyring | str | None) -> None:
    """Say which keyring the commands below a context work on.

    Args:
        ctx: the context of their group.
        keyring: its place, ``MODULE:ATTRIBUTE``: it is loaded for the command, and closed at its end; or the
            keyring itself, which stays open.
    """
    ctx.meta[_KEYRING] = keyring


def say_why(ctx: click.Context, reason: str | None) -> None:
    """Have a reason, if one is given, hold for the commands below a context."""
    if reason is not None:
        ctx.with_resource(because(reason))


def keyring_path() -> str | None:
    """Return the place of the command's keyring, from which other processes load it; ``None`` without one."""
    given = click.get_current_context().meta.get(_KEYRING)
    return given if isinstance(given, str) else None


def with_keyring(command: Callable[Concatenate[Keyring, P], R]) -> Callable[P, R]:
    """Pass the application's keyring to a command."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(_keyring(click.get_current_context()), *args, **kwargs)

    return call


def _keyring(ctx: click.Context) -> Keyring:
    given = ctx.meta.get(_KEYRING)
    if isinstance(given, Keyring):
        return given
    if not given:
        raise click.UsageError(f"Name the keyring: cmk --keyring MODULE:ATTRIBUTE, or set {VARIABLE}.")
    keyring = load_keyring(given)
    ctx.find_root().call_on_close(keyring.close)
    return keyring


def print_result(as_json: bool, result: dict[str, Any], *lines: str) -> None:
    """Print the result of a command: as JSON for a program, or as lines for a person."""
    if as_json:
        print_json(result)
        return
    for line in lines:
        print_line(line)
