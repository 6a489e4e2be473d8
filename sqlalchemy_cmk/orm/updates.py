"""UPDATE: the row decides where the statement names one by its primary key, else the scope does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Table, Update, false, or_, select
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import TenantMismatch, TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.columns import exactly
from sqlalchemy_cmk.orm.flush import flushed_owner
from sqlalchemy_cmk.orm.tenants import (
    Identity,
    TenantSource,
    owners_in_database,
    sealed_columns,
    tenant_source,
)
from sqlalchemy_cmk.orm.values import (
    MISSING,
    Row,
    as_element,
    column_of,
    known_value,
    python_default,
    refuse_shared,
    seal_plain,
    seal_value,
)
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant


def seal_update(
    connection: Connection, statement: Update, table: Table, rows: list[Row]
) -> tuple[Update, list[Row]]:
    """Seal every value that an UPDATE writes into sealed columns.

    Args:
        rows: the parameters, a dict each; changed in place.

    Raises:
        TenantRequired: neither a primary key nor a scope tells whose rows they are.
        TenantMismatch: the scope names another tenant than the rows.
        UnsupportedOperation: a value is SQL, or the tenant changes without the row being sealed anew.
    """
    work = _UpdateSealer(connection, statement, table)
    given = rows or [{}]
    written = work.written(given)
    work.refuse_moving(given, written)
    if not written:
        return statement, rows
    work.columns[next(iter(written))].keyring.opened.sweep()
    tenants = work.tenants(given)
    for row, tenant in zip(given, tenants, strict=True):
        work.seal_row(row, tenant)
    return work.sealed_statement(given, tenants), given if rows or any(given) else rows


class _UpdateSealer:
    def __init__(self, connection: Connection, statement: Update, table: Table) -> None:
        self.connection = connection
        self.statement = statement
        self.table = table
        self.columns: dict[str, SealedColumn] = sealed_columns(table)
        self.source: TenantSource | None = tenant_source(table)
        self.guard: ColumnElement[bool] | None = None
        self.embedded = {
            key: (raw, value)
            for raw, value in private.single_values(statement).items()
            if (key := column_of(statement, table, raw)) is not None
        }

    def written(self, rows: list[Row]) -> set[str]:
        """Return the keys of the sealed columns that the statement writes."""
        by_default = {
            key
            for key, column in self.columns.items()
            if python_default(column.column.onupdate) is not MISSING
        }
        return {key for key in self.columns if key in self.embedded or key in rows[0]} | by_default

    def refuse_moving(self, rows: list[Row], written: set[str]) -> None:
        source = self.source
        if source is None or source.table is not self.table:
            return
        key = source.column.key
        if key in self.embedded or (key in rows[0] and not self.moved_by_flush(rows[0])):
            raise UnsupportedOperation(
                f"{self.table.fullname}: an UPDATE of the tenant column {key!r} would leave values under "
                "the old tenant's key: change the attribute of loaded objects, and the flush seals them anew"
            )

    def moved_by_flush(self, row: Row) -> bool:
        identity = self.identity(row)
        return identity is not None and flushed_owner(self.table, identity) is not None

    def tenants(self, rows: list[Row]) -> list[str]:
        if self.source is None:
            return [PLATFORM_TENANT] * len(rows)
        identities = [self.identity(row) for row in rows]
        if any(identity is None for identity in identities):
            return [self.tenant_of_criteria(self.source, rows)] * len(rows)
        return self.tenants_of_rows(self.source, [one for one in identities if one is not None])

    def tenants_of_rows(self, source: TenantSource, identities: list[Identity]) -> list[str]:
        owners = {one: owner for one in identities if (owner := flushed_owner(self.table, one)) is not None}
        unknown = [one for one in identities if one not in owners]
        if unknown:
            owners.update(owners_in_database(self.connection, source, unknown))
        where = self.table.fullname
        return [agreed_tenant(owners.get(one), where) for one in identities]

    def tenant_of_criteria(self, source: TenantSource, rows: list[Row]) -> str:
        """Return the scope's tenant, having made sure that the criteria match no other tenant's rows."""
        where = self.table.fullname
        tenant = agreed_tenant(None, where)
        if source.table is not self.table:
            raise UnsupportedOperation(
                f"{where}: a bulk UPDATE cannot tell the tenants of its rows: update them by primary key"
            )
        compared = exactly(source.column, self.connection.dialect)
        others = select(source.column, compared).distinct()
        if self.statement.whereclause is not None:
            others = others.where(self.statement.whereclause)
        found: list[Any] = []
        for row in map(self.criteria_of, rows):
            found += self.connection.execute(others, row).all()
        if any(owner is None or source.name(owner) != tenant for owner, _ in found):
            raise TenantMismatch(
                f"{where}: the UPDATE in tenant_scope({tenant!r}) would write rows of another tenant"
            )
        # The rows were looked at before; those that came to match since are left alone.
        values = {value for _, value in found}
        self.guard = or_(*(compared == value for value in values)) if values else false()
        return tenant

    def criteria_of(self, row: Row) -> Row:
        """Return the parameters that the WHERE clause names, which are not those to be written."""
        criteria = self.statement.whereclause
        parts = () if criteria is None else iterate(criteria)
        names = {part.key for part in parts if isinstance(part, BindParameter)}
        return {name: value for name, value in row.items() if name in names}

    def identity(self, row: Row) -> Identity | None:
        """Return the primary key that the WHERE clause pins, in the order of the tenant's table."""
        keys = tuple(self.table.primary_key) if self.source is None else self.source.keys
        pinned = _pinned(self.statement.whereclause, self.table)
        if not keys or any(column.key not in pinned for column in keys):
            return None
        values = tuple(known_value(pinned[column.key], row) for column in keys)
        return None if any(value is None or value is MISSING for value in values) else values

    def seal_row(self, row: Row, tenant: str) -> None:
        for key, column in self.columns.items():
            if key in row and key not in self.embedded:
                row[key] = seal_plain(column, row[key], tenant)
            elif key not in self.embedded:
                value = python_default(column.column.onupdate)
                if value is not MISSING:
                    row[key] = seal_plain(column, value, tenant)

    def sealed_statement(self, rows: list[Row], tenants: list[str]) -> Update:
        statement = self.statement
        embedded = {key: pair for key, pair in self.embedded.items() if key in self.columns}
        if embedded:
            refuse_shared(self.statement, [value for _, value in embedded.values()], rows)
            if len(set(tenants)) != 1:
                raise TenantRequired(
                    f"{self.table.fullname}: one value for rows of several tenants: put it into each row"
                )
            sealed = {
                raw: as_element(self.columns[key], seal_value(self.columns[key], value, tenants[0], row))
                for row in rows
                for key, (raw, value) in embedded.items()
            }
            statement = private.with_single_values(statement, sealed)
        return statement if self.guard is None else statement.where(self.guard)


def _pinned(criteria: Any, table: Table) -> dict[str, BindParameter[Any]]:
    """Return ``column == parameter`` from the top level of a WHERE clause, by the column's key."""
    if isinstance(criteria, BooleanClauseList) and criteria.operator is operators.and_:
        parts = list(criteria.clauses)
    else:
        parts = [criteria]
    found: dict[str, BindParameter[Any]] = {}
    for part in parts:
        if (
            isinstance(part, BinaryExpression)
            and part.operator is operators.eq
            and isinstance(part.right, BindParameter)
        ):
            column = part.left
            if getattr(column, "table", None) is table or table in (
                getattr(b, "table", None) for b in getattr(column, "base_columns", ())
            ):
                found[str(column.key)] = part.right
    return found
