"""``cmk scrub``: takes old plaintexts out of a table's files, after its rows were sealed."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial

import click
from sqlalchemy import Connection, inspect

from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import note
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey import scrub as written_anew
from sqlalchemy_cmk.runtime.printable import printable


@click.command()
@click.argument("table", metavar="[SCHEMA.]TABLE")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="For how long older transactions are waited for, on PostgreSQL.",
)
@click.option("--yes", is_flag=True, help="Write the table again without asking.")
@as_json
@with_keyring
def scrub(keyring: Keyring, table: str, patience: float, yes: bool, as_json: bool) -> None:
    """Take old plaintexts out of a table's files.

    After a row is sealed its old bytes still lie in dead rows, free pages and logs. The database writes the
    table again: it is locked for as long as that takes, and the disk needs room for a second copy. What that
    cannot reach is listed.

    \b
    Examples:
      cmk scrub patients
      cmk scrub clinic.patients --patience 600 --yes
    """
    schema, _, name = table.rpartition(".")
    keyring.connections.use(partial(_refuse_unknown, schema or None, name))
    if not yes:
        click.confirm(f"Lock {printable(table)} and write it again?", abort=True, err=True)
    left = keyring.connections.use(
        lambda connection: written_anew(connection, name, schema or None, patience=patience), autocommit=True
    )
    print_result(as_json, {"table": table, "left": left}, f"{printable(table)} was rewritten")
    if not as_json:
        for sentence in left:
            note(f"not reached: {sentence}")


def _refuse_unknown(schema: str | None, name: str, connection: Connection) -> None:
    names = inspect(connection).get_table_names(schema=schema)
    if name not in names:
        close = get_close_matches(name, names, 1)
        meant = f": did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"there is no table {name!r} in the database{meant}")
