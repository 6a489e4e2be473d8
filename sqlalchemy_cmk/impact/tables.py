"""The tables with a tenant's rows, and how many values under its keys each of their columns has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, Table, exists, select
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.tenants import TenantSource, about_tenant, rows_of, sealed_columns, tenant_source
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.errors import complaint
from sqlalchemy_cmk.databases.statistics import Amount, Known
from sqlalchemy_cmk.databases.statistics.base import UNKNOWN, stored
from sqlalchemy_cmk.impact.report import ColumnImpact, TableImpact
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.rekey.counting import count_rows
from sqlalchemy_cmk.scope import PLATFORM_TENANT


def tables_of(keyring: Keyring, keys: TenantKeys, *, exact: bool) -> Iterator[TableImpact]:
    """Return every protected table whose rows may have values under a tenant's keys.

    Args:
        keyring: protects the models.
        keys: the tenant's keys.
        exact: whether values are counted.
    """
    for metadata in keyring.protected:
        for table in metadata.tables.values():
            columns = _columns_of(table, keys.tenant.name)
            if columns:
                yield _looked_at(keyring, table, columns, keys, exact)


def _columns_of(table: Table, tenant: str) -> list[SealedColumn]:
    theirs = tenant != PLATFORM_TENANT
    return [one for one in sealed_columns(table).values() if one.is_tenants is theirs]


def _looked_at(
    keyring: Keyring, table: Table, columns: list[SealedColumn], keys: TenantKeys, exact: bool
) -> TableImpact:
    def look(connection: Connection) -> TableImpact:
        amounts = _counted if exact else _estimated
        rows, *values = amounts(connection, table, columns, keys)
        activity = database_of(connection.dialect).statistics.activity(connection, table)
        found = tuple(ColumnImpact(one.column.name, n) for one, n in zip(columns, values, strict=True))
        return TableImpact(table.fullname, rows, found, activity.read_at, activity.written_at)

    try:
        return keyring.connections.run(look)
    except (SQLAlchemyError, OSError) as error:
        unknown = tuple(ColumnImpact(one.column.name, UNKNOWN) for one in columns)
        return TableImpact(table.fullname, UNKNOWN, unknown, problem=complaint(error))


def _estimated(
    connection: Connection, table: Table, columns: list[SealedColumn], keys: TenantKeys
) -> list[Amount]:
    query: Select[Any] = select(*stored([one.column for one in columns])).select_from(table)
    source = tenant_source(table) if keys.tenant.name != PLATFORM_TENANT else None
    if source is not None:
        if source.table is not table:
            query = query.join(source.table, source.same_row)
        query = query.where(about_tenant(source.column, source.column.type, keys.tenant.name))
    return database_of(connection.dialect).statistics.amounts(connection, table, query)


def _counted(
    connection: Connection, table: Table, columns: list[SealedColumn], keys: TenantKeys
) -> list[Amount]:
    source = tenant_source(table) if keys.tenant.name != PLATFORM_TENANT else None
    criterion = None if source is None else _theirs(source, keys.tenant.name, connection)
    names = [one.column.name for one in columns]
    known = {dek.id for dek in keys.deks}
    counts = count_rows(connection, table, names, known, criterion)
    rows = next(iter(counts.values())).total
    return [Amount(number, Known.COUNTED) for number in (rows, *(counts[one].sealed for one in names))]


def _theirs(source: TenantSource, tenant: str, connection: Connection) -> Any:
    theirs = rows_of(source.column, source.column.type, tenant, connection.dialect)
    return theirs if source.table is source.rows else exists().where(theirs, source.same_row)
