"""``cmk rekey plan``: counts the rows that a run would change."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import console, note, print_json
from sqlalchemy_cmk.cli.rekey.jobs import chosen_jobs, job_options
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey import Rekey
from sqlalchemy_cmk.runtime.printable import printable


@click.command()
@job_options
@as_json
@with_keyring
def plan(
    keyring: Keyring, tables: tuple[str, ...], columns: tuple[str, ...], tenant: str | None, as_json: bool
) -> None:
    """Count the rows that a run would have to change. Reads whole tables, opens nothing.

    \b
    Examples:
      cmk rekey plan
      cmk rekey plan --table patients
    """
    rekey = Rekey(keyring)
    jobs = chosen_jobs(keyring, tables, columns, tenant)
    lines = [(job, [move.source for move in job.moves], rekey.rows_left(job)) for job in jobs]
    if as_json:
        print_json([{"table": job.fullname, "columns": names, "rows": left} for job, names, left in lines])
    elif not lines:
        note("There is no sealed column to work on.")
    else:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("table", overflow="fold")
        table.add_column("columns", overflow="fold")
        table.add_column("rows to change", justify="right", no_wrap=True)
        for job, names, left in lines:
            table.add_row(Text(printable(job.fullname)), Text(printable(", ".join(names))), str(left))
        console().print(table)
