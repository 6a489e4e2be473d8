"""How a tenant stands: its keys, verified, its rows under each DEK, counted, and where the trail ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Connection, Dialect, Table, exists
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from sqlalchemy_cmk.certificates.document import (
    CertifiedDek,
    CertifiedKeys,
    CountedTable,
    CountedValues,
    Observed,
    WrappedBy,
)
from sqlalchemy_cmk.columns.tenants import rows_of, sealed_columns, tenant_source
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys
from sqlalchemy_cmk.rekey.counting import RowCounts, count_rows, sealed_tables
from sqlalchemy_cmk.rekey.every_row import refuse_hidden
from sqlalchemy_cmk.runtime.clock import as_utc, utc_now
from sqlalchemy_cmk.scope import PLATFORM_TENANT


def observe(keyring: Keyring, tenant: str) -> Observed:
    """Return how a tenant stands. The tables are counted as of one moment, and no key is opened.

    Args:
        keyring: it has to protect every model with sealed columns.
        tenant: the tenant's name.

    Raises:
        ConfigurationError: the tables cannot be counted, or may hide rows.
        TamperedError: the tenant's keys, or the trail's end, are not what was written there.
        KeyUnavailable: the key tables cannot be reached now.
    """
    if keyring.connections.in_memory:
        raise ConfigurationError("rows of SQLite in memory are not counted: use a database file")
    if not any(sealed_tables(keyring)):
        raise ConfigurationError(
            "no sealed column can be counted: call keyring.protect(Base) with the models first"
        )
    end = keyring.audit.end()
    keys = keyring.store.keys_of(tenant)
    at = moment(utc_now())
    tables = _counted(keyring, tenant, keys)
    certified = _certified(keys, authenticated=keyring.record_keys is not None)
    return Observed(at, moment(utc_now()), certified, tables, end.seq, end.hash)


def moment(at: datetime) -> str:
    """Return a time as certificates hold it: ISO 8601, in UTC, with microseconds."""
    return as_utc(at).isoformat(timespec="microseconds")


def tenants_rows(table: Table, tenant: str, dialect: Dialect) -> ColumnElement[bool] | None:
    """Return the criterion for a tenant's rows of a table; ``None`` if every row is the platform's."""
    source = tenant_source(table)
    if source is None:
        return None
    theirs = rows_of(source.column, source.column.type, tenant, dialect)
    return theirs if source.table is table else exists().where(source.same_row, theirs).correlate(table)


def _counted(keyring: Keyring, tenant: str, keys: TenantKeys | None) -> tuple[CountedTable, ...]:
    tables = list(_tables(keyring, tenant))
    known = {dek.id for dek in keys.deks} if keys else set()

    def work(connection: Connection) -> tuple[CountedTable, ...]:
        keyring.connections.database.begin_snapshot(connection)
        refuse_hidden(connection, (table for table, _ in tables))
        count = partial(_count, connection, tenant, known)
        return tuple(count(table, names) for table, names in tables)

    try:
        return keyring.connections.run(work)
    except NoSuchTableError as error:
        problem = f"there is no table {error}"
    except DBAPIError as error:
        problem = first_line(error)
    raise ConfigurationError(
        f"the sealed tables cannot be counted ({problem}): bring the database to what the models declare "
        "first"
    )


def _tables(keyring: Keyring, tenant: str) -> Iterator[tuple[Table, list[str]]]:
    for table, _ in sealed_tables(keyring):
        theirs = tenant != PLATFORM_TENANT
        names = [str(one.column.name) for one in sealed_columns(table).values() if one.is_tenants is theirs]
        if names:
            yield table, names


def _count(
    connection: Connection, tenant: str, known: set[bytes], table: Table, names: list[str]
) -> CountedTable:
    where = None if tenant == PLATFORM_TENANT else tenants_rows(table, tenant, connection.dialect)
    counts = count_rows(connection, table, names, known, where)
    rows = next(iter(counts.values())).total
    return CountedTable(str(table.fullname), rows, tuple(_values(name, counts[name]) for name in names))


def _values(name: str, counts: RowCounts) -> CountedValues:
    by_dek = {dek_id.hex(): count for dek_id, count in counts.by_dek.items() if dek_id is not None}
    return CountedValues(name, by_dek, counts.by_dek.get(None, 0), counts.plain, counts.null)


def _certified(keys: TenantKeys | None, *, authenticated: bool) -> CertifiedKeys:
    if keys is None:
        return CertifiedKeys("none", "", 0, authenticated, ())
    owner = keys.tenant
    deks = tuple(map(_dek, keys.deks))
    return CertifiedKeys(str(owner.state), owner.kek_uri, owner.epoch, authenticated, deks)


def _dek(dek: DekRecord) -> CertifiedDek:
    wrappings = tuple(WrappedBy(one.kek_uri, one.kek_version, one.algorithm) for one in dek.wrappings)
    retired = "" if dek.retired_at is None else moment(dek.retired_at)
    return CertifiedDek(
        dek.id.hex(), str(dek.purpose), str(dek.state), moment(dek.created_at), retired, wrappings
    )
