"""A tenant's rows, opened and streamed: of every table that says whose its rows are."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Connection, Table, select
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.certificates.observing import tenants_rows
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenColumn
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.offboarding.values import line, row

FORMAT = "sqlalchemy_cmk export 1"
FETCHED = 500


def tenants_tables(keyring: Keyring) -> tuple[list[Table], list[str]]:
    """Return the protected tables with tenants' rows, sealed or not, and the names of all others.

    Tables come before those that refer to them.
    """
    found: dict[str, Table] = {}
    others: dict[str, None] = {}
    for metadata in keyring.protected:
        for table in metadata.sorted_tables:
            if table.name in keyring.database.table_names:
                continue
            if tenant_source(table) is None:
                others[table.fullname] = None
            else:
                found.setdefault(table.fullname, table)
    return list(found.values()), [name for name in others if name not in found]


def head(table: Table, tenant: str, at: str) -> bytes:
    """Return the first line of a table's file: what it is, and its columns with their types."""
    columns = [
        {"name": str(one.name), "type": _type_text(one.type), "sealed": isinstance(one.type, EncryptedType)}
        for one in _columns(table)
    ]
    return line(
        {"format": FORMAT, "tenant": tenant, "table": str(table.fullname), "at": at, "columns": columns}
    )


def rows(connection: Connection, table: Table, tenant: str) -> Iterator[bytes]:
    """Return a tenant's rows of a table as lines of JSON, opened, in the order of the primary key.

    Args:
        connection: in a transaction, inside the tenant's scope.
        table: one of :func:`tenants_tables`.
        tenant: the tenant's name.

    Raises:
        TamperedError: a value is not what was written there.
        KeyRevoked: the tenant's KEK refuses; likewise :class:`KeyUnavailable`.
    """
    columns = _columns(table)
    names = [str(one.name) for one in columns]
    theirs = tenants_rows(table, tenant, connection.dialect)
    # Sealed bytes have no order that means anything.
    in_order = (one for one in table.primary_key if not isinstance(one.type, EncryptedType))
    query = select(*columns).order_by(*in_order)
    query = query if theirs is None else query.where(theirs)
    result = connection.execute(query, execution_options={"yield_per": FETCHED})
    for part in result.partitions():  # the values of a part are opened together
        yield from (row(names, found) for found in part)


def _columns(table: Table) -> list[Column[object]]:
    return [one for one in table.columns if not isinstance(one, TokenColumn)]


def _type_text(type_: TypeEngine[object]) -> str:
    # Its arguments are left out: those of other libraries' types may be keys.
    return type(type_.plain if isinstance(type_, EncryptedType) else type_).__name__
