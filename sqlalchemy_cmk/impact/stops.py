"""Work that cannot go on without a tenant's keys: searches, re-keying runs, conversions by migrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, inspect, select

from sqlalchemy_cmk.alembic.registry.table import make_conversions_table
from sqlalchemy_cmk.impact.report import Stop, TableImpact
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.declarations import declared_indexes
from sqlalchemy_cmk.keys.indexes.records import IndexState
from sqlalchemy_cmk.rekey.records import RunState
from sqlalchemy_cmk.rekey.runs import RunStore
from sqlalchemy_cmk.scope import PLATFORM_TENANT

_BUILT = (IndexState.BUILDING, IndexState.FILLING)


def stops_of(keyring: Keyring, tenant: str, tables: Sequence[TableImpact]) -> Iterator[Stop]:
    """Return what stops when a tenant's keys are switched off.

    Args:
        keyring: protects the models.
        tenant: the tenant's name.
        tables: the tables with its rows.
    """
    names = {one.name for one in tables}
    yield from _indexes(keyring, tenant)
    for run in RunStore(keyring.database).runs():
        if run.state is not RunState.DONE and run.table_name in names:
            what = f"{run.table_name}, {run.description}: leaves the tenant's rows as they are"
            yield Stop("run", run.id, what)
    yield from _conversions(keyring, names)


def _indexes(keyring: Keyring, tenant: str) -> Iterator[Stop]:
    building = {
        (one.schema, one.table, one.column, one.name)
        for one in keyring.indexes.stored()
        if one.state in _BUILT
    }
    for metadata in keyring.protected:
        for one in (found for find in declared_indexes for found in find(metadata)):
            if one.is_tenants is (tenant != PLATFORM_TENANT):
                is_building = one.identity in building
                what = (
                    "its build stops at the tenant's rows"
                    if is_building
                    else "questions about the tenant's rows end with KeyRevoked"
                )
                yield Stop("index", one.where, what)


def _conversions(keyring: Keyring, names: set[str]) -> Iterator[Stop]:
    table = keyring.database.tables_of(make_conversions_table)
    c = table.c

    def read(connection: Connection) -> list[tuple[str, str, str]]:
        if not inspect(connection).has_table(table.name):
            return []
        rows = connection.execute(select(c.schema_name, c.table_name, c.column_name))
        return [(str(schema), str(name), str(column)) for schema, name, column in rows]

    for schema, name, column in keyring.database.run(read):
        where = f"{schema}.{name}" if schema else name
        if where in names:
            yield Stop("conversion", f"{where}.{column}", "the migration fails at the tenant's rows")
