"""Options that commands share: the keyring, ``--json``, and printing a result for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from sqlalchemy_cmk.cli.output import print_json, print_line
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.loading import load_keyring

P = ParamSpec("P")
R = TypeVar("R")

VARIABLE = "CMK_KEYRING"

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, also for errors.")
tenant_argument = click.argument("tenant")
kek_argument = click.argument("kek_uri")


def with_keyring(command: Callable[Concatenate[Keyring, P], R]) -> Callable[P, R]:
    """Pass the application's keyring to a command, and close it at the end."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        root = click.get_current_context().find_root()
        if not root.obj:
            raise click.UsageError(f"Name the keyring: cmk --keyring MODULE:ATTRIBUTE, or set {VARIABLE}.")
        keyring = load_keyring(root.obj)
        root.call_on_close(keyring.close)
        return command(keyring, *args, **kwargs)

    return call


def print_result(as_json: bool, result: dict[str, Any], *lines: str) -> None:
    """Print the result of a command: as JSON for a program, or as lines for a person."""
    if as_json:
        print_json(result)
        return
    for line in lines:
        print_line(line)
