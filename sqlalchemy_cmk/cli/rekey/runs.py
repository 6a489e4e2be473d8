"""``cmk rekey pause``, ``resume`` and ``report``: control and show recorded runs, from any terminal."""

from __future__ import annotations

from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import age, console, iso, note, plural, print_json, print_line
from sqlalchemy_cmk.cli.rekey.run import described, print_damage
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey import Rekey, Report, Run
from sqlalchemy_cmk.runtime.printable import printable

run_argument = click.argument("run_id", metavar="RUN")


@click.command()
@run_argument
@as_json
@with_keyring
def pause(keyring: Keyring, run_id: str, as_json: bool) -> None:
    """Stop every worker of a run after its batch, in every process.

    \b
    Examples:
      cmk rekey pause 5f0c12ab77aa
    """
    done = Rekey(keyring).pause(run_id)
    sentence = f"run {run_id} is paused" if done else f"run {run_id} was not running"
    print_result(as_json, {"run": run_id, "changed": done}, sentence)


@click.command()
@run_argument
@as_json
@with_keyring
def resume(keyring: Keyring, run_id: str, as_json: bool) -> None:
    """Let a paused run continue. If its process has ended, run the same command again instead.

    \b
    Examples:
      cmk rekey resume 5f0c12ab77aa
    """
    done = Rekey(keyring).resume(run_id)
    sentence = f"run {run_id} continues" if done else f"run {run_id} was not paused"
    print_result(as_json, {"run": run_id, "changed": done}, sentence)


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@as_json
@with_keyring
def report(keyring: Keyring, run_id: str | None, as_json: bool) -> None:
    """Show the report of a run, or list every recorded run.

    Ends with exit code 1 if a value of the run did not open.

    \b
    Examples:
      cmk rekey report
      cmk rekey report 5f0c12ab77aa
    """
    rekey = Rekey(keyring)
    runs = rekey.runs()
    if run_id is None:
        _list(rekey, runs, as_json)
        return
    found = rekey.report(run_id)
    run = next(one for one in runs if one.id == run_id)
    if as_json:
        print_json(_described(run, found))
    else:
        changed = f"{plural(found.rows_read, 'row')} read, {found.rows_changed} changed"
        print_line(f"{printable(run.description)}: {run.state}, started {age(run.started_at)} ago, {changed}")
        print_damage(found)
    if found.damaged:
        click.get_current_context().exit(ExitCode.FOUND)


def _list(rekey: Rekey, runs: list[Run], as_json: bool) -> None:
    reports = [(run, rekey.report(run.id)) for run in runs]
    if as_json:
        print_json([_described(run, found) for run, found in reports])
        return
    if not runs:
        note("No run is recorded.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name in ("run", "what", "state"):
        table.add_column(name, overflow="fold")
    for name in ("read", "changed", "damaged"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    for run, found in reports:
        counts = (found.rows_read, found.rows_changed, len(found.damaged))
        cells = (run.id, run.description, str(run.state), *map(str, counts))
        table.add_row(*(Text(printable(one)) for one in cells), f"{age(run.started_at)} ago")
    console().print(table)


def _described(run: Run, found: Report) -> dict[str, Any]:
    about = described(found)
    for one in ("ok", "rows_left", "refused"):
        del about[one]
    return {
        **about,
        "state": str(run.state),
        "rows_expected": run.rows_expected,
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
    }
