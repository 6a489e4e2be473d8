"""Upserts: what a conflict writes is sealed for the row that is there, and that row stays its tenant's."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, Insert, Table, and_, case, type_coerce

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import TenantRequired, UnsupportedOperation
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.columns import exactly
from sqlalchemy_cmk.orm.tenants import TenantSource
from sqlalchemy_cmk.orm.values import Row, as_element, column_of, refuse_shared, seal_value


def seal_upsert(
    dialect: Dialect,
    statement: Insert,
    table: Table,
    columns: dict[str, SealedColumn],
    source: TenantSource | None,
    rows: list[Row],
    tenants: list[str],
) -> Insert:
    """Seal what the ON CONFLICT or ON DUPLICATE KEY clause of an INSERT writes, if it has one.

    Args:
        dialect: the database's.
        statement: the INSERT.
        table: its table.
        columns: the table's sealed columns by key.
        source: where its rows tell their tenant.
        rows: the parameters, a dict each; changed in place where the clause names one of them.
        tenants: the tenant of each row.

    Raises:
        TenantRequired: one value for rows of several tenants.
        UnsupportedOperation: a value is SQL, or the tenant column is set.
    """
    clause = private.upsert_clause(statement)
    work = _UpsertSealer(dialect, statement, table, columns, source, rows, tenants)
    if hasattr(clause, "update_values_to_set"):
        return work.on_conflict(copy(clause))
    return work.on_duplicate(copy(clause)) if hasattr(clause, "update") else statement


class _UpsertSealer:
    def __init__(
        self,
        dialect: Dialect,
        statement: Any,
        table: Table,
        columns: dict[str, SealedColumn],
        source: TenantSource | None,
        rows: list[Row],
        tenants: list[str],
    ) -> None:
        self.dialect = dialect
        self.statement = statement
        self.table = table
        self.columns = columns
        self.source = source
        self.rows = rows
        self.tenants = tenants

    def on_conflict(self, clause: Any) -> Insert:
        """PostgreSQL, SQLite: a row of another tenant is left alone by a condition."""
        given = clause.update_values_to_set
        new = self.statement.excluded
        changed, touches = self.assignments(dict(given).items())
        clause.update_values_to_set = type(given)(changed)
        same = self.same_tenant(new) if touches else None
        if same is not None:
            where = clause.update_whereclause
            clause.update_whereclause = same if where is None else and_(where, same)
        return private.with_upsert_clause(self.statement, clause)

    def on_duplicate(self, clause: Any) -> Insert:
        """MySQL, MariaDB: a row of another tenant keeps all that it holds."""
        is_dict = isinstance(clause.update, dict)
        pairs = list(clause.update.items() if is_dict else clause.update)
        new = self.statement.inserted
        changed, touches = self.assignments(pairs)
        same = self.same_tenant(new) if touches else None
        if same is not None:
            changed = [(key, self.conditional(same, key, value)) for key, value in changed]
        clause.update = dict(changed) if is_dict else changed
        return private.with_upsert_clause(self.statement, clause)

    def conditional(self, same: ColumnElement[bool], key: Any, value: Any) -> Any:
        name = column_of(self.statement, self.table, key)
        if not name:
            return value
        before = self.table.c[name]
        return case((same, type_coerce(value, before.type)), else_=before)

    def same_tenant(self, new: Any) -> ColumnElement[bool] | None:
        """Return the condition that the row that is there belongs to the new row's tenant."""
        if self.source is None:
            return None
        if self.source.table is not self.table:  # its row in the base table is the same one
            return and_(*(column == new[column.key] for column in self.source.keys))
        owner = self.source.column
        return exactly(owner, self.dialect) == exactly(new[owner.key], self.dialect)

    def assignments(self, pairs: Iterable[tuple[Any, Any]]) -> tuple[list[tuple[Any, Any]], bool]:
        """Return the clause's pairs with their values sealed, and whether they touch what a tenant owns."""
        changed, touches = [], False
        for raw, value in pairs:
            key = column_of(self.statement, self.table, raw)
            if key is None:
                self.refuse_unknown(raw)
            column = self.columns.get(key or "")
            if column is not None:
                touches = True
                value = self.sealed(column, value)
            elif self.source is not None and self.source.column is self.table.c.get(key or ""):
                touches = True
                self.refuse_moving(self.source, value)
            changed.append((raw, value))
        return changed, touches

    def sealed(self, column: SealedColumn, value: Any) -> Any:
        if isinstance(value, BindParameter) and value.key in self.rows[0]:
            refuse_shared(self.statement, [value], self.rows)
            each = self.tenants if len(self.rows) == len(self.tenants) else [self.only()] * len(self.rows)
            for row, tenant in zip(self.rows, each, strict=True):
                seal_value(column, value, tenant, row)
            return value
        plain = isinstance(value, BindParameter) or not hasattr(value, "__visit_name__")
        tenant = self.only() if plain else self.tenants[0]
        return as_element(column, seal_value(column, value, tenant, {}))

    def only(self) -> str:
        if len(set(self.tenants)) != 1:
            raise TenantRequired(
                f"{self.table.fullname}: one value for rows of several tenants: put it into each row"
            )
        return self.tenants[0]

    def refuse_moving(self, source: TenantSource, value: Any) -> None:
        """Let the tenant column be set to the new row's only, which :meth:`same_tenant` makes no change."""
        of_new_row = getattr(value, "table", None) not in (None, self.table)
        if not of_new_row or source.column not in getattr(value, "base_columns", ()):
            raise UnsupportedOperation(
                f"{self.table.fullname}: an upsert of the tenant column {source.column.key!r} would leave "
                "values under the old tenant's key: change the attribute of loaded objects"
            )

    def refuse_unknown(self, raw: Any) -> None:
        """Refuse a column's name where its key is another: SQLAlchemy would write the value as it is."""
        for column in self.table.c:
            if column.name == str(raw) and column.key != str(raw):
                raise UnsupportedOperation(
                    f"{self.table.fullname}: an upsert names its columns by key: {column.key!r}, not {raw!r}"
                )
