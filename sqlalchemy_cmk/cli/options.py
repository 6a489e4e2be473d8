"""What several commands share: the keyring, ``--json``, and how a result is told."""

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

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too, for a program.")
tenant_argument = click.argument("tenant")
kek_argument = click.argument("kek_uri")


def with_keyring(command: Callable[Concatenate[Keyring, P], R]) -> Callable[P, R]:
    """Give a command the application's keyring, and close it at the end."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        root = click.get_current_context().find_root()
        if not root.obj:
            raise click.UsageError(f"Name the keyring: cmk --keyring MODULE:ATTRIBUTE, or set {VARIABLE}.")
        keyring = load_keyring(root.obj)
        root.call_on_close(keyring.close)
        return command(keyring, *args, **kwargs)

    return call


def tell(as_json: bool, result: dict[str, Any], sentence: str) -> None:
    """Print what was done: the result for a program, or the sentence for a person."""
    if as_json:
        print_json(result)
    else:
        print_line(sentence)
