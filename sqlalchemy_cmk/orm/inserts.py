"""INSERT: each row's tenant column decides under whose key the row is sealed, upserts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Insert, Table

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.tenants import TenantSource, owners_in_database, sealed_columns, tenant_source
from sqlalchemy_cmk.orm.upserts import seal_upsert
from sqlalchemy_cmk.orm.values import (
    MISSING,
    Row,
    as_element,
    column_of,
    known_value,
    python_default,
    refuse_shared,
    seal_value,
)
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant


def seal_insert(
    connection: Connection, statement: Insert, table: Table, rows: list[Row]
) -> tuple[Insert, list[Row]]:
    """Seal every value that an INSERT writes into sealed columns.

    Args:
        rows: the parameters, a dict each; changed in place.

    Raises:
        TenantRequired: a row names no tenant.
        UnsupportedOperation: the rows come from a SELECT, or a value is SQL.
    """
    columns = sealed_columns(table)
    if not columns and private.upsert_clause(statement) is None:
        return statement, rows
    for column in columns.values():
        column.keyring.opened.sweep()
        break
    if columns and private.is_from_select(statement):
        raise UnsupportedOperation(
            f"INSERT INTO {table.fullname} ... SELECT cannot seal what the SELECT returns: "
            "read the rows and insert them"
        )
    work = _InsertSealer(connection, statement, table, columns)
    return work.multi(rows) if private.multi_values(statement) else work.run(rows)


class _InsertSealer:
    def __init__(
        self, connection: Connection, statement: Insert, table: Table, columns: dict[str, SealedColumn]
    ) -> None:
        self.connection = connection
        self.statement = statement
        self.table = table
        self.columns = columns
        self.source = tenant_source(table)
        self.embedded = {
            key: value
            for raw, value in private.single_values(statement).items()
            if (key := column_of(statement, table, raw)) is not None
        }

    def run(self, rows: list[Row]) -> tuple[Insert, list[Row]]:
        """Seal single values and parameter rows."""
        given = rows or [{}]
        tenants = self.tenants(given, None)
        embedded = {key: value for key, value in self.embedded.items() if key in self.columns}
        columns = [column for key, column in self.columns.items() if key not in embedded]
        self.seal_rows(given, tenants, columns)
        statement = self.statement
        if embedded:
            refuse_shared(self.statement, embedded.values(), given)
            tenant = self.only(tenants)
            sealed = {
                key: seal_value(self.columns[key], value, tenant, row)
                for row in given
                for key, value in embedded.items()
            }
            statement = private.with_single_values(statement, self.original_keys(sealed))
        return self.upsert(statement, given, tenants), given if rows or any(given) else rows

    def seal_rows(self, rows: list[Row], tenants: list[str], columns: list[SealedColumn]) -> None:
        """Seal the parameters of many rows; what does not change from row to row is looked up once."""
        sealers: dict[str, list[tuple[str, Callable[[Any], Any], Any]]] = {}
        for row, tenant in zip(rows, tenants, strict=True):
            plan = sealers.get(tenant)
            if plan is None:
                plan = sealers[tenant] = [
                    (column.column.key, column.sealer(tenant), column.column.default) for column in columns
                ]
            for key, seal, default in plan:
                if key in row:
                    row[key] = seal(row[key])
                elif default is not None:
                    value = python_default(default)
                    if value is not MISSING:
                        row[key] = seal(value)

    def multi(self, rows: list[Row]) -> tuple[Insert, list[Row]]:
        """Seal the rows of ``insert().values([...])``."""
        params = rows[0] if rows else {}
        given = [self.named(row) for row in private.multi_values(self.statement)]
        for row, tenant in zip(given, tenants := self.tenants(given, params), strict=True):
            for key, column in self.columns.items():
                value = row[key] if key in row else python_default(column.column.default)
                if value is not MISSING:
                    row[key] = seal_value(column, value, tenant, params)
        statement = private.with_multi_values(self.statement, given)
        return self.upsert(statement, rows or [{}], tenants), rows

    def named(self, row: Any) -> Row:
        pairs = row.items() if isinstance(row, dict) else zip(self.table.c.keys(), row, strict=False)
        return {column_of(self.statement, self.table, key) or key: value for key, value in pairs}

    def tenants(self, rows: list[Row], params: Row | None) -> list[str]:
        """Return the tenant of each row; a row without one gets the tenant column's Python default.

        Args:
            params: where parameters given by ``bindparam("name")`` are; ``None`` for in the row itself.
        """
        source = self.source
        if source is None:
            return [PLATFORM_TENANT] * len(rows)
        if source.table is not self.table:
            return self.tenants_of_base(source, rows, params)
        where, key = self.table.fullname, source.column.key
        known: dict[Any, str] = {}
        found = []
        for row in rows:
            owner = row.get(key, MISSING)
            if type(owner) is not str:
                owner = self.unusual_owner(source, row, params)
            tenant = known.get(owner)
            if tenant is None:
                tenant = known[owner] = agreed_tenant(_owner(source, owner), where)
            found.append(tenant)
        return found

    def unusual_owner(self, source: TenantSource, row: Row, params: Row | None) -> Any:
        key = source.column.key
        owner = self.value(key, row, params)
        if owner is MISSING and key not in row and key not in self.embedded:
            owner = python_default(source.column.default)
            if owner is not MISSING:
                row[key] = owner
        if owner is MISSING:
            raise TenantRequired(f"{self.table.fullname}: the row does not name its tenant: set {key!r}")
        return owner

    def value(self, key: str, row: Row, params: Row | None) -> Any:
        value = row[key] if key in row else self.embedded.get(key, MISSING)
        return known_value(value, row if params is None else params)

    def tenants_of_base(self, source: TenantSource, rows: list[Row], params: Row | None) -> list[str]:
        identities = [tuple(self.value(str(c.key), row, params) for c in source.keys) for row in rows]
        owners = owners_in_database(self.connection, source, identities)
        where = self.table.fullname
        missing = [one for one in identities if one not in owners]
        if missing:
            raise TenantRequired(
                f"{where}: there is no row in {source.table.fullname} that says whose row this is"
            )
        return [agreed_tenant(owners[one], where) for one in identities]

    def original_keys(self, sealed: Row) -> dict[Any, Any]:
        return {
            raw: as_element(self.columns[key], sealed[key])
            for raw in private.single_values(self.statement)
            if (key := column_of(self.statement, self.table, raw)) in sealed
        }

    def only(self, tenants: list[str]) -> str:
        if len(set(tenants)) != 1:
            raise TenantRequired(
                f"{self.table.fullname}: one value for rows of several tenants: put it into each row"
            )
        return tenants[0]

    def upsert(self, statement: Insert, rows: list[Row], tenants: list[str]) -> Insert:
        dialect = self.connection.dialect
        return seal_upsert(dialect, statement, self.table, self.columns, self.source, rows, tenants)


def _owner(source: TenantSource, owner: Any) -> str:
    try:
        return source.name(owner)
    except TenantRequired:
        pass
    raise TenantRequired(
        f"{source.table.fullname}: the row's tenant column {source.column.key!r} is empty: "
        "set it before the row is written"
    )
