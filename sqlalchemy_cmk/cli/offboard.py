"""``cmk offboard`` exports a tenant's rows and destroys its keys; ``cmk open-export`` opens the export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from sqlalchemy_cmk.cli.options import as_json, print_result, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import plural, tenant_label
from sqlalchemy_cmk.cli.shred import asked
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.offboarding import offboard as offboard_tenant
from sqlalchemy_cmk.offboarding import open_export as open_exported
from sqlalchemy_cmk.scope import key_owner

_MAX_KEY = 100_000  # bytes
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@tenant_argument
@click.option(
    "--to",
    "folder",
    metavar="FOLDER",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The new folder for the rows and the certificate.",
)
@click.option(
    "--for-key", type=click.File("rb"), metavar="PUBLIC.pem", help="Seal the rows for this RSA key."
)
@click.option("--clear", is_flag=True, help="Export the rows in the clear.")
@click.option("--without-export", is_flag=True, help="Export nothing: the rows are lost.")
@click.option(
    "--confirm", metavar="NAME", help="The tenant's name again, for scripts; without it cmk prompts."
)
@as_json
@with_keyring
def offboard(
    keyring: Keyring,
    tenant: str,
    folder: Path,
    for_key: BinaryIO | None,
    clear: bool,
    without_export: bool,
    confirm: str | None,
    as_json: bool,
) -> None:
    """Export a tenant's rows, destroy its keys, and certify both. This cannot be undone.

    Stop the application's writing for the tenant first. The keys are destroyed once the files are on disk,
    were read back, and the rows were found unchanged. Run the same again where it was stopped.

    \b
    Examples:
      cmk offboard acme --to acme-leaves --for-key acme-public.pem
      cmk offboard acme --to acme-leaves --clear
    """
    if (for_key is not None) + clear + without_export != 1:
        raise click.UsageError("Say how the rows are exported: --for-key FILE, --clear or --without-export.")
    name = key_owner(tenant)
    typed = asked(keyring, name) if confirm is None else confirm
    pem = None if for_key is None else for_key.read(_MAX_KEY)
    done = offboard_tenant(keyring, name, folder, confirm=typed, sealed_for=pem, export=not without_export)
    rows = sum(one.rows for one in done.files)
    result = {
        "tenant": name,
        "state": "shredded",
        "folder": str(folder),
        "files": [asdict(one) for one in done.files],
        "certificate": done.certificate.certificate.id,
    }
    exported = f"{plural(rows, 'row')} of {plural(len(done.files), 'table')} exported to {folder}"
    print_result(
        as_json,
        result,
        f"{tenant_label(name)} is shredded, {exported if done.files else 'nothing was exported'}",
        f"certificate {done.certificate.certificate.id} is in {folder}",
    )


@click.command("open-export")
@click.argument("source", type=_file)
@click.argument("target", type=_file)
@click.option("--key", required=True, type=_file, metavar="PRIVATE.pem", help="The RSA private key.")
@as_json
def open_export(source: Path, target: Path, key: Path, as_json: bool) -> None:
    """Open a file that cmk offboard --for-key has sealed, into a new file.

    Neither a keyring nor a database is needed. Nothing is written where the file was altered or cut off.

    \b
    Examples:
      cmk open-export acme.sealed acme.jsonl --key private.pem
    """
    open_exported(source, target, key)
    print_result(as_json, {"file": str(target)}, f"{source} is opened in {target}")
