"""``flask cmk``: the commands of ``cmk``, with the application's own keyring."""

from __future__ import annotations

from functools import cache
from typing import Any

import click
from flask.cli import with_appcontext

from sqlalchemy_cmk.flask.served import served_here


class AppCommands(click.Command):
    """Stands for the group of commands until it is asked for: an application that serves needs none."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return what ``flask --help`` prints."""
        return "Show and change the keys of tenants."

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the group itself."""
        try:
            group = _group()
        except ModuleNotFoundError as error:
            if str(error.name).startswith("sqlalchemy_cmk"):
                raise
            raise click.ClickException(
                f"flask cmk needs {error.name}: run pip install 'sqlalchemy-cmk[cli,flask]'"
            ) from None
        return group.make_context(info_name, args, parent, **extra)


@cache
def _group() -> click.Group:
    from sqlalchemy_cmk.cli.app import CmkGroup, cmk
    from sqlalchemy_cmk.cli.options import because_option, say_why, use_keyring

    @click.option("--bind", metavar="KEY", help="The database of this bind key. Default: the default one.")
    @because_option
    @click.pass_context
    @with_appcontext
    def group(ctx: click.Context, bind: str | None, reason: str | None) -> None:
        use_keyring(ctx, served_here().keyring_for(bind))
        say_why(ctx, reason)

    return click.command("cmk", cls=CmkGroup, commands=cmk.commands, help=cmk.help, epilog=cmk.epilog)(group)
