"""``cmk rekey``: the engine of :mod:`sqlalchemy_cmk.rekey` without Alembic."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.rekey.plan import plan
from sqlalchemy_cmk.cli.rekey.run import run, verify
from sqlalchemy_cmk.cli.rekey.runs import pause, report, resume


@click.group()
def rekey() -> None:
    """Bring rows under their tenants' active DEKs.

    Rows of columns that accept plaintext are sealed. The application goes on meanwhile.
    """


for command in (plan, run, pause, resume, verify, report):
    rekey.add_command(command)
