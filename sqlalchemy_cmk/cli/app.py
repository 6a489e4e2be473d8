"""The command group ``cmk``: its global option, its subcommands, and its error handling."""

from __future__ import annotations

from typing import Any, NoReturn

import click
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk import __version__
from sqlalchemy_cmk.cli.assign import assign
from sqlalchemy_cmk.cli.audit import audit
from sqlalchemy_cmk.cli.byok import byok
from sqlalchemy_cmk.cli.certificate import certificate
from sqlalchemy_cmk.cli.changes import add_wrapping, drop_wrapping, rotate_dek, set_grace
from sqlalchemy_cmk.cli.check import check
from sqlalchemy_cmk.cli.doctor import doctor
from sqlalchemy_cmk.cli.dropping import drop_retired
from sqlalchemy_cmk.cli.events import events
from sqlalchemy_cmk.cli.exits import EPILOG, ExitCode, exit_code
from sqlalchemy_cmk.cli.impact import impact
from sqlalchemy_cmk.cli.local import local
from sqlalchemy_cmk.cli.lock import lock, unlock
from sqlalchemy_cmk.cli.offboard import offboard, open_export
from sqlalchemy_cmk.cli.onboard import onboard
from sqlalchemy_cmk.cli.options import VARIABLE, because_option, say_why, use_keyring
from sqlalchemy_cmk.cli.output import print_error
from sqlalchemy_cmk.cli.record_key import record_key
from sqlalchemy_cmk.cli.rekey import rekey
from sqlalchemy_cmk.cli.requests import approve, refuse, requests
from sqlalchemy_cmk.cli.rewrap import rewrap
from sqlalchemy_cmk.cli.scrub import scrub
from sqlalchemy_cmk.cli.shred import shred
from sqlalchemy_cmk.cli.status import status
from sqlalchemy_cmk.errors import ApprovalRequired, CmkError

_JSON = f"{__name__}.json"
_BEFORE = ("--keyring", "--because")
# What to do after Ctrl-C, where a command does more than one thing.
_GOES_ON = "run the same command again, and it goes on where it stopped"
RESUMES = {
    "assign": "what was moved stays moved; run the same command again for the rest",
    "drop-retired": "DEKs that were destroyed stay so; run the same command again for the rest",
    "record-key": _GOES_ON,
    "rekey": _GOES_ON,
    "rewrap": _GOES_ON,
    "scrub": "the database has undone what it was doing; run the same command again",
}


class CmkGroup(click.Group):
    """Turns every error of the library into an exit code and one line, or JSON; never into a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the global options, wherever they stand."""
        args = _in_order(args)
        # Looked up before the subcommand's own options are parsed, because these may be wrong.
        ctx.meta[_JSON] = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _end_usage(ctx, error)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _end_usage(ctx, error)
        except click.Abort:
            _end(ctx, ExitCode.USAGE, "NotConfirmed", "nothing was done")
        except KeyboardInterrupt:
            hint = RESUMES.get(ctx.invoked_subcommand or "", "cmk status shows where things stand")
            _end(ctx, ExitCode.STOPPED, "KeyboardInterrupt", f"stopped: {hint}")
        except CmkError as error:
            more = {"request": error.request} if isinstance(error, ApprovalRequired) else {}
            _end(ctx, exit_code(error), type(error).__name__, str(error), **more)
        except DBAPIError as error:
            # Its own text may hold values.
            what = f"the database cannot be used now ({type(error.orig).__name__})"
            _end(
                ctx,
                ExitCode.UNAVAILABLE,
                "KeyUnavailable",
                f"{what}: check its URL, the network and its rights",
            )


def _in_order(args: list[str]) -> list[str]:
    """Return arguments with those of the group before the subcommand, and ``--json`` behind it."""
    ours, theirs = (args[: args.index("--")], args[args.index("--") :]) if "--" in args else (args, [])
    first, rest = list[str](), list[str]()
    for before, one in zip(["", *ours], ours, strict=False):
        (first if before in _BEFORE or one.partition("=")[0] in _BEFORE else rest).append(one)
    if rest[:1] == ["--json"]:
        rest = [*rest[1:], "--json"]
    return [*first, *rest, *theirs]


def _end_usage(ctx: click.Context, error: click.UsageError) -> NoReturn:
    if not ctx.meta[_JSON]:
        raise error
    _end(ctx, ExitCode.USAGE, type(error).__name__, error.format_message())


def _end(ctx: click.Context, code: ExitCode, kind: str, message: str, **more: str) -> NoReturn:
    print_error(kind, message, ctx.meta[_JSON], **more)
    ctx.exit(code)


def _checked_path(ctx: click.Context, parameter: click.Parameter, keyring_path: str | None) -> str | None:
    if keyring_path is not None and not all(keyring_path.partition(":")):
        raise click.BadParameter("write MODULE:ATTRIBUTE, as in clinic.keys:keyring")
    return keyring_path


@click.group(cls=CmkGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--keyring",
    envvar=VARIABLE,
    metavar="MODULE:ATTRIBUTE",
    callback=_checked_path,
    help=f"The application's Keyring, or a function that returns it. Default: ${VARIABLE}.",
)
@because_option
@click.version_option(__version__, prog_name="sqlalchemy_cmk")
@click.pass_context
def cmk(ctx: click.Context, keyring: str | None, reason: str | None) -> None:
    """Show and change the keys of an application's tenants.

    The name of the platform's own tenant is ''.
    """
    use_keyring(ctx, keyring)
    say_why(ctx, reason)


for command in (
    status,
    doctor,
    impact,
    check,
    onboard,
    assign,
    rewrap,
    rotate_dek,
    add_wrapping,
    drop_wrapping,
    set_grace,
    rekey,
    drop_retired,
    lock,
    unlock,
    shred,
    requests,
    approve,
    refuse,
    audit,
    certificate,
    events,
    offboard,
    open_export,
    record_key,
    byok,
    scrub,
    local,
):
    cmk.add_command(command)
