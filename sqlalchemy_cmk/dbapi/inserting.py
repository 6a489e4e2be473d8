"""INSERT in SQL text: brings its rows, each with its tenant, to the row writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.columns.lookups import owners_in_database
from sqlalchemy_cmk.columns.tenants import TenantSource, tenant_source
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.dbapi.parameters import Values
from sqlalchemy_cmk.dbapi.stored import stored
from sqlalchemy_cmk.errors import TenantRequired
from sqlalchemy_cmk.hooks.compounds import write_compounds
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.values import MISSING, Row
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant
from sqlalchemy_cmk.sql import Inserted, Plan
from sqlalchemy_cmk.sql.schema import sealed_of
from sqlalchemy_cmk.sql.text import Edit, Key


def seal_insert(
    connection: Connection, plan: Plan, inserted: Inserted, every: Sequence[Values]
) -> tuple[str, list[Any]]:
    """Return an INSERT and its parameters with all that it writes into sealed columns sealed.

    Args:
        connection: where it runs.
        plan: the statement.
        inserted: its rows.
        every: the values of each execution.

    Raises:
        TenantRequired: a row names no tenant.
        UnsupportedOperation: a row-bound value whose row is not known.
    """
    rows = [_named(inserted, one, values) for values in every for one in inserted.rows]
    hidden = seal_rows(connection, inserted, rows, RowWriter(inserted.table, connection))
    return _written(connection, plan, inserted, every, rows, hidden)


def seal_rows(connection: Connection, inserted: Inserted, rows: list[Row], writer: RowWriter) -> list[str]:
    """Seal rows in place, and return the keys of the hidden columns that are in them too.

    Args:
        connection: where they are written.
        inserted: what is written.
        rows: the values of each row by the keys of its columns.
        writer: seals them.
    """
    keys = [str(one.key) for one in inserted.columns if sealed_of(one) is not None]
    before = set(rows[0]) if rows else set()
    identities = None
    if writer.identity is not None:
        identities = [[row.get(key, MISSING) for key in writer.identity.keys] for row in rows]
    tenants = _tenants(connection, writer, rows, keys)
    write_compounds(writer, rows, tenants, {})
    writer.seal_rows(rows, tenants, keys, identities)
    hidden = sorted(set(rows[0]) - before) if rows else []  # the same in each
    return hidden


def _named(inserted: Inserted, row: Sequence[Any], values: Values) -> Row:
    return {
        str(column.key): values.of(given)
        for column, given in zip(inserted.columns, row, strict=True)
        if given is not None
    }


def _tenants(
    connection: Connection, writer: RowWriter, rows: Sequence[Row], keys: Sequence[str]
) -> list[str]:
    """Return the tenant of each row, or the platform for one that writes nothing of a tenant's."""
    source = tenant_source(writer.table)
    owned = [key for key in keys if writer.columns[key].is_tenants]
    if source is None or not owned:
        return [PLATFORM_TENANT] * len(rows)
    where = writer.table.fullname
    if source.table is not writer.table:
        return _tenants_of_base(connection, source, rows, where)
    key = str(source.column.key)
    known: dict[Any, str] = {}
    held = [row.get(key, MISSING) for row in rows]
    if set(map(type, held)) == {str}:
        known = {one: agreed_tenant(source.name(one), where) for one in dict.fromkeys(held)}
        return list(map(known.__getitem__, held))
    found = []
    for row in rows:
        owner = row.get(key, MISSING)
        if type(owner) is str and owner in known:
            found.append(known[owner])
            continue
        if (owner is MISSING or owner is None) and not any(
            writer.is_value(one, row[one], row) for one in owned
        ):
            found.append(PLATFORM_TENANT)
            continue
        if owner is MISSING:
            raise TenantRequired(
                f"{where}: the row does not name its tenant: give {key!r} as a parameter too"
            )
        found.append(agreed_tenant(source.name(owner), where))
        if type(owner) is str:
            known[owner] = found[-1]
    return found


def _tenants_of_base(
    connection: Connection, source: TenantSource, rows: Sequence[Row], where: str
) -> list[str]:
    identities = [tuple(row.get(str(one.key), MISSING) for one in source.keys) for row in rows]
    known = [one for one in identities if MISSING not in one]
    owners = owners_in_database(connection, source, known)
    if any(one not in owners for one in identities):
        raise TenantRequired(
            f"{where}: there is no row in {source.table.fullname} that says whose row this is"
        )
    return [agreed_tenant(owners[one], where) for one in identities]


def _written(
    connection: Connection,
    plan: Plan,
    inserted: Inserted,
    every: Sequence[Values],
    rows: Sequence[Row],
    hidden: Sequence[str],
) -> tuple[str, list[Any]]:
    quoting = Quoting(connection.dialect)
    count = len(inserted.rows)
    added_names: list[str | Key] = [f", {quoting.name(str(inserted.table.c[key].name))}" for key in hidden]
    names_end = inserted.names_end
    added: list[Edit] = [(names_end, names_end, added_names)] if hidden else []
    is_named = any(isinstance(one.key, str) for one in plan.text.parameters)
    first = len({one.key for one in plan.text.parameters})
    new_keys: list[list[Key]] = []
    for number, end in enumerate(inserted.row_ends if hidden else ()):
        at = first + number * len(hidden)
        keys: list[Key] = [f"cmk_hidden_{at + i}" if is_named else at + i for i in range(len(hidden))]
        new_keys.append(keys)
        added.append((end, end, [part for key in keys for part in (", ", -1, key)]))
    statement, sent = plan.text.written(0, len(plan.text.parsed), added)
    dialect = connection.dialect
    for number, values in enumerate(every):
        own = rows[number * count : (number + 1) * count]
        for index, (row, givens) in enumerate(zip(own, inserted.rows, strict=True)):
            for column, given in zip(inserted.columns, givens, strict=True):
                if given is not None and given.number is not None and sealed_of(column) is not None:
                    values.replace(given.number, stored(column, row[str(column.key)], dialect))
            for i, key in enumerate(hidden):
                token = stored(inserted.table.c[key], row.get(key), dialect)
                values.known[new_keys[index][i]] = token
    return statement, [values.listed(sent) for values in every]
