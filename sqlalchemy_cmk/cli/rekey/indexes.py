"""``cmk rekey indexes``: shows search indexes, finishes those that are being built, rotates their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import age, console, iso, note, plural, print_json, print_line
from sqlalchemy_cmk.cli.rekey.jobs import rate_option
from sqlalchemy_cmk.cli.rekey.progress import print_event, showing_progress
from sqlalchemy_cmk.columns.compounds import every_index
from sqlalchemy_cmk.doctor.indexes import IndexChecks
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.indexes.records import StoredIndex
from sqlalchemy_cmk.rekey import Job, Rekey, Report
from sqlalchemy_cmk.rekey.indexes import IndexSpec, IndexWork, finish_builds, rotate_indexes
from sqlalchemy_cmk.rekey.indexes.work import RunJob
from sqlalchemy_cmk.runtime.printable import printable
from sqlalchemy_cmk.search.definitions import definition_of

T = TypeVar("T")

_REMEDY = "find out who writes the table without the library, then run cmk rekey indexes --rotate"


@click.command()
@click.option("--build", is_flag=True, help="Finish the indexes whose build was begun.")
@click.option("--check", is_flag=True, help="Count the rows that have a value and no token.")
@click.option("--rotate", is_flag=True, help="Make the tokens of every index again, under new keys.")
@rate_option
@as_json
@with_keyring
def indexes(keyring: Keyring, build: bool, check: bool, rotate: bool, rate: float, as_json: bool) -> None:
    """Show the search indexes of the database, and how far each has come.

    With --check, also how many rows have a value and no token, so that they are not found: what writes the
    table without the library leaves such rows. It ends with 1 where there are some.

    With --build or --rotate, work on them: the application may run meanwhile, and what was stopped continues
    when the same command is run again. The account alters the tables. How far a job is: cmk rekey report.

    \b
    Examples:
      cmk rekey indexes
      cmk rekey indexes --check
      cmk rekey indexes --rotate
    """
    if build + check + rotate > 1:
        raise click.UsageError("Build first, then rotate, then check: give one of them.")
    if not build and not rotate:
        counts = IndexChecks(keyring).without_tokens() if check else None
        _show(keyring.indexes.stored(), counts, as_json)
        if counts is not None and any(counts.values()):
            click.get_current_context().exit(ExitCode.FOUND)
        return
    specs = list(_declared(keyring))
    run = _runner(Rekey(keyring, rate=rate or None), as_json)
    if build:
        built = _worked(keyring, run, lambda work: finish_builds(work, specs))
        sentence = f"{', '.join(map(printable, built))}: ready" if built else "No index is being built."
        _end(as_json, sentence, built=built)
        return
    retired = _worked(keyring, run, lambda work: rotate_indexes(work, specs))
    sentence = f"Every index is rotated, and {plural(retired, 'old DEK')} retired."
    _end(as_json, sentence, indexes=[one.where for one in specs], retired=retired)


def _end(as_json: bool, sentence: str, **result: Any) -> None:
    if as_json:  # one line, as the lines of the progress before it
        print_event("report", **result)
    else:
        print_line(sentence)


def _declared(keyring: Keyring) -> Iterator[IndexSpec]:
    for metadata in keyring.protected:
        for table in metadata.sorted_tables:
            yield from (IndexSpec.of(one, definition_of(one.index)) for one in every_index(table))


def _worked(keyring: Keyring, run: RunJob, act: Callable[[IndexWork], T]) -> T:
    def work(connection: Connection) -> T:
        return act(IndexWork(keyring, connection, run))

    return keyring.connections.use(work, autocommit=True)


def _runner(rekey: Rekey, as_json: bool) -> RunJob:
    def run(job: Job) -> Report:
        with showing_progress(job, as_json) as progress:
            report = rekey.run(job, progress)
        report.require_opened("their rows would not be found", "the command")
        return report

    return run


def _show(stored: Sequence[StoredIndex], counts: Mapping[str, int] | None, as_json: bool) -> None:
    """Print indexes, and, where they were counted, the rows of each that have a value and no token."""
    if as_json:
        print_json([_described(one, counts) for one in stored])
        return
    for where, count in (counts or {}).items():
        if count:
            print_line(f"{printable(where)}: {plural(count, 'row')} or more without a token: {_REMEDY}")
    if not stored:
        note("No search index is recorded.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name in ("tokens in", "state", "keys", "since"):
        table.add_column(name, overflow="fold")
    for one in stored:
        cells = (one.where, str(one.state), str(one.purpose))
        table.add_row(*(Text(printable(cell)) for cell in cells), f"{age(one.since)} ago")
    console().print(table)


def _described(one: StoredIndex, counts: Mapping[str, int] | None) -> dict[str, Any]:
    counted = {} if counts is None else {"without_token": counts.get(one.where)}
    return {
        "index": one.where,
        "column": one.column,
        "name": one.name,
        "state": str(one.state),
        "keys": str(one.purpose),
        "since": iso(one.since),
        **counted,
    }
