"""``cmk drop-retired``: destroys old DEKs, after a count has found no row under them."""

from __future__ import annotations

from pathlib import Path

import click

from sqlalchemy_cmk.cli.certified import certificate_option, certified
from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.many import exit_if_requested
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import note, plural
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.dropping import drop_retired as drop


@click.command("drop-retired")
@click.argument("tenant", required=False)
@click.option(
    "--ignore",
    "ignoring",
    metavar="TABLE",
    multiple=True,
    help="A table of no model whose values need not open any more: TABLE, SCHEMA.TABLE or a pattern such as "
    "'archive.*'. May be repeated.",
)
@certificate_option
@as_json
@with_keyring
def drop_retired(
    keyring: Keyring,
    tenant: str | None,
    ignoring: tuple[str, ...],
    certificate: Path | None,
    as_json: bool,
) -> None:
    """Destroy retired DEKs under which no row is left.

    Of one tenant, or of all. Every sealed column of the models is counted first, which reads whole tables,
    and every other table of the database is searched for values under these DEKs. Ends with exit code 1 if a
    retired DEK was kept, and says why.

    \b
    Examples:
      cmk drop-retired
      cmk drop-retired acme --ignore 'archive.*'
    """
    with certified(keyring, tenant, "drop-retired", certificate) as outcome:
        report = drop(keyring, tenant, ignoring=ignoring)
        outcome |= {"dropped": len(report.dropped), "kept": len(report.kept)}
    kept = {dek_id.hex(): why for dek_id, why in report.kept.items()}
    dropped = [one.hex() for one in report.dropped]
    result = {"dropped": dropped, "kept": kept, "sampled": list(report.sampled)}
    result |= {"requested": dict(report.requested)}
    sentence = f"{plural(len(report.dropped), 'retired DEK')} destroyed, {len(kept)} kept"
    print_result(as_json, result, sentence)
    if report.sampled and not as_json:
        note(f"Only a sample was searched of {', '.join(report.sampled)}.")
    if kept:
        if not as_json:
            for dek_id, why in kept.items():
                note(f"DEK {dek_id}: {why}")
        click.get_current_context().exit(ExitCode.FOUND)
    exit_if_requested(report.requested, as_json)
