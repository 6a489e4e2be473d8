"""``cmk check``: before anything is sealed, says what will happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from sqlalchemy_cmk.check import Migration, Use, migrations, subjects_of, uses_in
from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import note, plural, print_json, print_line
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.runtime.printable import printable


@click.command()
@click.argument("columns", nargs=-1, metavar="[TABLE.COLUMN]...")
@click.option(
    "--deterministic",
    multiple=True,
    metavar="TABLE.COLUMN",
    help="A plain column that would be deterministic; may be repeated.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A file or folder of Python code to read; may be repeated. Default: the current folder.",
)
@click.option("--no-source", is_flag=True, help="Read no source code.")
@as_json
@with_keyring
def check(
    keyring: Keyring,
    columns: tuple[str, ...],
    deterministic: tuple[str, ...],
    sources: tuple[Path, ...],
    no_source: bool,
    as_json: bool,
) -> None:
    """Say what sealing columns will do, before anything is sealed.

    Columns are those that the models declare as EncryptedType, or the ones named here, also
    plain ones. For each: what would stop a migration, what would keep copies of its values, and
    how long it takes here, measured on a sample. Then the lines of the source code that sealed
    columns would refuse, and the SQL text that names them. Nothing is changed, and no key is made.
    Ends with exit code 1 if something would stop a migration or be refused.

    \b
    Examples:
      cmk check
      cmk check patients.ssn --deterministic patients.email
      cmk check --no-source
    """
    subjects = subjects_of(keyring, columns, deterministic)
    found = migrations(keyring, subjects)
    uses = [] if no_source else uses_in(sources or (Path.cwd(),), subjects)
    if as_json:
        print_json({"columns": list(map(_described, found)), "uses": list(map(_described_use, uses))})
    else:
        _print(found, uses)
        note("What runs is seen by pytest --cmk-check, and nothing else follows variables.")
    if uses or any(one.obstacles for one in found):
        click.get_current_context().exit(ExitCode.FOUND)


def _print(found: list[Migration], uses: list[Use]) -> None:
    for one in found:
        print_line(Text.assemble((printable(one.where), "bold"), f"  {_outcome(one)}"))
        for obstacle in one.obstacles:
            print_line(Text(f"  refused  {printable(obstacle)}", style="bold red"))
        for copy in one.copies:
            print_line(Text(f"  copies   {printable(copy)}", style="yellow"))
    for use in uses:
        print_line(Text.assemble((printable(str(use.place)), "bold"), f": {printable(use.message)}"))
        if use.index:
            print_line(Text(f"  answered by {use.index}", style="dim"))
    stopped = sum(bool(one.obstacles) for one in found)
    print_line(
        f"{plural(len(found), 'column')}, {stopped} that no migration would seal as they are; "
        f"{plural(len(uses), 'line')} that would be refused"
    )


def _outcome(one: Migration) -> str:
    if one.done:
        return one.done
    if one.timing is None:
        return f"{one.before} to {one.after}: not as it is"
    timing = one.timing
    size = (
        f", {timing.bytes_before:.0f} to {timing.bytes_after:.0f} bytes a value" if timing.bytes_after else ""
    )
    return (
        f"{one.before} to {one.after}{size}: {plural(timing.rows, 'row')}, about {_duration(timing.seconds)} "
        f"({timing.row_seconds * 1e6:.0f} us a row, measured on {timing.sampled})"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _described(one: Migration) -> dict[str, Any]:
    timing = one.timing
    return {
        "column": one.where,
        "before": one.before,
        "after": one.after,
        "done": one.done,
        "obstacles": list(one.obstacles),
        "copies": list(one.copies),
        "rows": timing and timing.rows,
        "seconds": timing and round(timing.seconds, 3),
        "sampled": timing and timing.sampled,
        "microseconds_a_row": timing and round(timing.row_seconds * 1e6, 1),
    }


def _described_use(use: Use) -> dict[str, Any]:
    return {"file": use.place.file, "line": use.place.line, "message": use.message, "index": use.index}
