"""Which jobs the options of ``cmk rekey`` mean: one for each table with sealed columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from sqlalchemy import Table

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.orm.tenants import tenant_source
from sqlalchemy_cmk.rekey import Job
from sqlalchemy_cmk.rekey.counting import sealed_tables
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

Command = TypeVar("Command", bound=Callable[..., Any])


def job_options(command: Command) -> Command:
    """Give a command the options that choose jobs."""
    options = (
        click.option("--table", "tables", multiple=True, metavar="NAME", help="This table; may be repeated."),
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="NAME",
            help="This column, TABLE.COLUMN or COLUMN; may be repeated.",
        ),
        click.option("--tenant", metavar="NAME", help="Rows of this tenant only; '' is the platform."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_jobs(
    keyring: Keyring, tables: Sequence[str], columns: Sequence[str], tenant: str | None
) -> list[Job]:
    """Return the jobs that re-encrypt the chosen columns of the chosen tables; all, where none is chosen.

    Raises:
        ConfigurationError: a name is not that of a table or column that is sealed and protected.
    """
    owner = None if tenant is None else key_owner(tenant)
    found = list(_chosen(keyring, tables, columns))
    _refuse_unknown(tables, {table.fullname for table, _ in found}, "table with sealed columns")
    names = {name for _, chosen in found for name in chosen}
    names |= {f"{table.fullname}.{name}" for table, chosen in found for name in chosen}
    _refuse_unknown(columns, names, "sealed column in those tables")
    jobs = [_job(table, chosen, owner) for table, chosen in found if chosen]
    return [job for job in jobs if job is not None]


def _chosen(
    keyring: Keyring, tables: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[Table, tuple[str, ...]]]:
    for table, names in sealed_tables(keyring):
        if not tables or table.fullname in tables:
            wanted = [n for n in names if not columns or n in columns or f"{table.fullname}.{n}" in columns]
            yield table, tuple(wanted)


def _refuse_unknown(wanted: Sequence[str], known: set[str], what: str) -> None:
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ConfigurationError(
            f"there is no {what} {', '.join(map(repr, unknown))} in the models that the keyring was given"
        )


def _job(table: Table, columns: tuple[str, ...], owner: str | None) -> Job | None:
    """Return a table's job; ``None`` where no row of it can be the tenant's."""
    if owner is None:
        return Job.of(table, columns)
    if (tenant_source(table) is None) is not (owner == PLATFORM_TENANT):
        return None
    return Job.of(table, columns, tenant=owner or None)
