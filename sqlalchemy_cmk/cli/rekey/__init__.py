"""``cmk rekey``: runs the engine of :mod:`sqlalchemy_cmk.rekey` without Alembic."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.rekey.indexes import indexes
from sqlalchemy_cmk.cli.rekey.plan import plan
from sqlalchemy_cmk.cli.rekey.run import run, verify
from sqlalchemy_cmk.cli.rekey.runs import pause, report, resume


@click.group()
def rekey() -> None:
    """Seal rows under their tenants' active DEKs, and work on search indexes.

    Values that are not sealed are sealed as well, in columns that accept them. The application may run
    meanwhile.
    """


for command in (plan, run, pause, resume, verify, report, indexes):
    rekey.add_command(command)
