"""``--certificate FILE``: what a command does with one tenant's keys is certified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sqlalchemy_cmk.certificates import recording
from sqlalchemy_cmk.cli.output import note
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring

ONE_TENANT = "A certificate is for one tenant, to be shown to its owner: name the tenant."

certificate_option = click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a signed certificate of what was done to this new file. For one tenant.",
)


@contextmanager
def certified(
    keyring: Keyring, tenant: str | None, operation: str, file: Path | None
) -> Iterator[dict[str, str | int]]:
    """Certify what a command does in a block, which fills in what the certificate says of the outcome.

    Args:
        keyring: the application's keyring.
        tenant: the one tenant that it is about; ``None`` if there are several.
        operation: the command.
        file: where the certificate is written; ``None`` if none is wanted.

    Raises:
        ConfigurationError: the file is there already, or as :func:`recording`; nothing is done then.
    """
    if file is None:
        yield {}
        return
    if tenant is None:
        raise click.UsageError(ONE_TENANT)
    if file.exists() or not file.absolute().parent.is_dir():
        raise ConfigurationError(f"{file} cannot be made: name a new file in a folder that is there")
    with recording(keyring, tenant, operation) as recorded:
        yield recorded.result
    recorded.certificate.write(file)
    note(f"certificate {recorded.certificate.certificate.id} is in {file}")
