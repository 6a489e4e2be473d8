"""Puts ``EncryptedType`` back on tables that were read from the database; see :meth:`Keyring.apply_to`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, Table

from sqlalchemy_cmk.alembic.registry.read import Entry, Registry
from sqlalchemy_cmk.alembic.registry.table import make_registry_table
from sqlalchemy_cmk.columns.column import TENANT_INFO_KEY
from sqlalchemy_cmk.columns.tenants import ROW_INFO_KEY, TenantSource, sealed_columns, set_type
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.rekey.job import TenantColumn
from sqlalchemy_cmk.runtime.printable import printable


def restore_types(keyring: Keyring, metadata: MetaData) -> None:
    """Give the columns of a ``MetaData`` the types that migrations have noted, and its tables their owners.

    Columns and tables that have them already keep theirs.

    Args:
        keyring: reads the table of sealed columns.
        metadata: tables as they were reflected.

    Raises:
        ConfigurationError: a noted type, or a table that names the owners, is not known here.
    """
    registry = keyring.database.tables_of(make_registry_table)
    entries = keyring.connections.run(lambda connection: Registry(registry, connection).entries())
    for entry in entries.values():
        table = metadata.tables.get(".".join(filter(None, entry.name.of_table)))
        if table is not None and entry.name.column in table.c:
            _restore(table, entry)


def _restore(table: Table, entry: Entry) -> None:
    column, type_ = table.c[entry.name.column], entry.encrypted_type()
    if column.key in sealed_columns(table):
        return
    if type_ is None:
        raise ConfigurationError(
            f"{entry.name} holds values of the type {printable(entry.type)}, which is not imported here: "
            "import its module before apply_to"
        )
    for name, noted in _own_types(entry):
        set_type(table.c[name], noted)
    table.info.setdefault(TENANT_INFO_KEY, _source(table, entry.tenant_column))
    if entry.row_columns:
        table.info.setdefault(ROW_INFO_KEY, tuple(name for name, _ in entry.row_columns))
    set_type(column, type_)


def _own_types(entry: Entry) -> list[tuple[str, Any]]:
    """Return the columns whose own type in the database does not give the values that were sealed with."""
    rows = entry.rows
    pairs = [(rows.tenant_column, rows.tenant_type), *rows.row_columns]
    return [(name, type_) for name, type_ in pairs if isinstance(name, str) and type_ is not None]


def _source(table: Table, tenant: TenantColumn | None) -> Any:
    """Return what a table's ``info`` says of its owners."""
    if tenant is None or isinstance(tenant, str):
        return tenant
    *base, column = tenant
    holder = table.metadata.tables.get(".".join(base))
    if holder is None:
        raise ConfigurationError(
            f"{table.fullname}: its tenants are named in {printable('.'.join(base))}: reflect that table too"
        )
    return TenantSource(table, holder.c[column], tuple(table.primary_key))
