"""``cmk impact``: before a tenant's key is switched off, says what will stop, and when."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.options import as_json, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import age, console, plural, print_json, print_line, tenant_label
from sqlalchemy_cmk.databases.statistics import Amount, Known
from sqlalchemy_cmk.impact import Impact, Times, impact_of
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.runtime.printable import printable

_MARKS = {Known.COUNTED: "{}", Known.ESTIMATED: "~{}", Known.AT_MOST: "<={}"}


@click.command()
@tenant_argument
@click.option("--exact", is_flag=True, help="Count the rows. Reads whole tables.")
@as_json
@with_keyring
def impact(keyring: Keyring, tenant: str, exact: bool, as_json: bool) -> None:
    """Say what stops when a tenant's key is switched off.

    Tables and rows, searches, re-keying runs and migrations, when the last cached key is gone, who else is
    under the same KEK, and what backups keep. Nothing is opened or changed. Without --exact, numbers of rows
    come from the database's statistics: ~ marks an estimate, <= all rows of a table.

    \b
    Examples:
      cmk impact acme
      cmk impact acme --exact --json
    """
    found = impact_of(keyring, tenant, exact=exact)
    if as_json:
        print_json(found.as_json())
        return
    print_line(Text(f"{tenant_label(found.tenant)} is {found.state}", style="bold"))
    for kek in found.keks:
        print_line(f"  under {printable(kek)}")
    if len(found.keks) > 1:
        print_line("  Any one of them opens its data: all have to be switched off.")
    if found.tables:
        console().print(_rows(found))
    for line in _sentences(found):
        print_line(line)


def _rows(found: Impact) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("column", overflow="fold", min_width=14)
    for name in ("rows", "values"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("read", "written"):
        table.add_column(name, no_wrap=True)
    for one in found.tables:
        times = [f"{age(at)} ago" if at else "?" for at in (one.read_at, one.written_at)]
        for column in one.columns:
            where = Text(printable(f"{one.name}.{column.name}"))
            table.add_row(where, _number(one.rows), _number(column.values), *times)
    return table


def _number(amount: Amount) -> str:
    return "?" if amount.rows is None else _MARKS[amount.known].format(amount.rows)


def _sentences(found: Impact) -> Iterator[str]:
    if found.proven_at is not None:
        yield f"A KEK last opened its DEKs {age(found.proven_at)} ago."
    if found.opened_at is not None:
        yield f"{found.opened_by} was the last to open one again, {age(found.opened_at)} ago."
    for stop in found.stops:
        yield f"{stop.kind} {stop.name}: {stop.what}"
    yield from _times(found.times)
    for one in found.neighbours:
        more = " and others" if one.count > len(one.names) else ""
        others = f"{plural(one.count, 'other tenant')}: {', '.join(map(tenant_label, one.names))}{more}"
        yield f"Under {one.kek_uri} {'are ' + others if one.count else 'is no other tenant'}."
    yield from found.remains
    yield from found.unknown


def _times(times: Times) -> Iterator[str]:
    yield "The last use of a key that is in memory begins"
    yield f"  {_seconds(times.refused)} after the KEK refuses;"
    yield f"  {_seconds(times.unreachable)} after its last proof, where the KEK cannot be reached;"
    yield f"  {_seconds(times.locked)}, and the time of one look, after cmk lock;"
    yield f"  {_seconds(times.lock_unseen)} after its last proof, where a process cannot look for locks."


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"
