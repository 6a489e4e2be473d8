"""Values that SQL text compares sealed columns with: sealed for whose rows the statement is about."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.presealed import strip
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.writing import ColumnWriter
from sqlalchemy_cmk.dbapi.parameters import Values
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.keys.binding.held_keys import Holders
from sqlalchemy_cmk.scope import PLATFORM_TENANT
from sqlalchemy_cmk.sql import Path, Plan


def seal_compared(connection: Connection, plan: Plan, values: Values) -> None:
    """Replace the values that sealed columns are compared with by sealed ones.

    Raises:
        TenantRequired: neither the statement nor a scope names the tenant whose values are compared.
        InvalidValue: no list is given where one is compared with.
    """
    holders, done = Holders(), set()
    for number, one in plan.compared.items():
        key = values.key(number)
        if key in done or values.known[key] is None:
            continue
        done.add(key)
        owner = owner_of(one.column, one.path, values)
        writer = ColumnWriter(one.column, holders[one.column.keys_on(connection)])
        given = values.known[key]
        if not one.is_list:
            values.known[key] = strip(writer.seal_compared(given, owner))
            continue
        require_list(one.column, given)
        values.known[key] = [
            None if value is None else strip(writer.seal_compared(value, owner)) for value in given
        ]


def require_list(column: SealedColumn, given: Any) -> None:
    """Refuse what is not a list, where the database takes one.

    Raises:
        InvalidValue: it is none.
    """
    if not isinstance(given, list | tuple):
        raise InvalidValue(f"{column.where}: = ANY takes a list of values, not a {type(given).__name__}")


def owner_of(column: SealedColumn, path: Path, values: Values) -> str:
    """Return whose values of a column are compared, of the rows of a path.

    Raises:
        TenantRequired: neither the statement nor a scope names the tenant.
    """
    if not column.is_tenants:
        return PLATFORM_TENANT
    source = tenant_source(column.table)
    return column.owner(None if source is None else values.tenant(path, source))
