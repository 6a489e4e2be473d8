"""Options of ``cmk rekey`` that choose tables, columns and a tenant, and the jobs that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from sqlalchemy import Table

from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.rekey import Job, Rekey
from sqlalchemy_cmk.rekey.counting import sealed_tables
from sqlalchemy_cmk.rekey.engine import RATE
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

Command = TypeVar("Command", bound=Callable[..., Any])


rate_option = click.option(
    "--rate",
    type=click.FloatRange(min=0),
    metavar="N",
    default=RATE,
    show_default=True,
    help="At most N rows per second; 0 for no limit.",
)


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
        click.option("--tenant", metavar="NAME", help="Values of this tenant only; '' is the platform."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_jobs(
    keyring: Keyring, tables: Sequence[str], columns: Sequence[str], tenant: str | None
) -> list[Job]:
    """Return the jobs that re-encrypt the chosen columns of the chosen tables; by default all.

    Raises:
        ConfigurationError: there is no such table or column that is sealed and protected, or no such tenant.
    """
    owner = None if tenant is None else key_owner(tenant)
    found = list(_chosen(keyring, tables, columns))
    _refuse_unknown(tables, {table.fullname for table, _ in found}, "table with sealed columns")
    names = {name for _, chosen in found for name in chosen}
    names |= {f"{table.fullname}.{name}" for table, chosen in found for name in chosen}
    _refuse_unknown(columns, names, "sealed column in those tables")
    jobs = [job for table, chosen in found if chosen and (job := _job(table, chosen, owner)) is not None]
    return _with_rows(keyring, owner, jobs) if owner else jobs


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
            f"there is no {what} {', '.join(map(repr, unknown))} in the models that the keyring protects: "
            "check the name, and call keyring.protect(Base) with these models"
        )


def _with_rows(keyring: Keyring, tenant: str, jobs: list[Job]) -> list[Job]:
    """Refuse a mistyped name; of a tenant without keys return the jobs that have rows to seal."""
    if keyring.store.known([tenant]):
        return jobs
    rekey = Rekey(keyring)
    found = [job for job in jobs if rekey.rows_left(job)]
    if not found:
        raise unknown_tenant(keyring.store, tenant, ", nor rows to seal")
    return found


def _job(table: Table, columns: tuple[str, ...], owner: str | None) -> Job | None:
    """Return a table's job; ``None`` if it has no value of the tenant's, or of the platform's."""
    theirs = tuple(
        one.column.name
        for one in sealed_columns(table).values()
        if one.column.name in columns and (owner is None or one.is_tenants is (owner != PLATFORM_TENANT))
    )
    return Job.of(table, theirs, tenant=owner) if theirs else None
