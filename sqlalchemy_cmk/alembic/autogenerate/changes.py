"""Finds what changed about the stored form of a column that is sealed before and after."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Column, Table

from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.base import TableOp
from sqlalchemy_cmk.alembic.ops.reencrypt import ChangeSchemeOp
from sqlalchemy_cmk.alembic.ops.register import RegisterSealedColumnOp
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.registry.type_text import type_text
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.columns.type import EncryptedType

log = logging.getLogger(__name__)


def wanted(column: Column[Any]) -> Entry:
    """Return how a model says that its column is sealed."""
    type_ = cast(EncryptedType, column.type)
    return Entry.of(ColumnName.of(column), type_, TableRows.of(column.table, type_))


def changed(entry: Entry, model: Column[Any]) -> list[TableOp]:
    """Return the operation that seals a column's values as its model says now; none where they open."""
    name, type_ = entry.name, cast(EncryptedType, model.type)
    asked, old = wanted(model), entry.encrypted_type()
    now = _with_types(Entry.of(name, old, entry.rows) if old is not None else entry, model.table)
    if asked.stored_form == now.stored_form:
        return _renamed_tenant(entry, asked, type_, model.table)
    log.info("Detected another type of the sealed column %s", name)
    # What was the platform's for want of a tenant column says so, once there is one; and the reverse.
    if now.owner != asked.owner:
        old = old if old is None or now.owner == "row" else old.with_options(owner="platform")
        type_ = type_ if asked.owner == "row" else type_.with_options(owner="platform")
    before, after = now.rows, TableRows.of(model.table, type_)
    rows = after if asked.tenant_column is not None else replace(after, **_tenant(before))
    operation = ChangeSchemeOp(name.table, name.column, type_, old, schema=name.schema)
    if type_.scheme.row_bound and now.scheme.row_bound and asked.stored_form[-1] != now.stored_form[-1]:
        operation.existing_row_columns = before.row_columns
        operation.comments.append(
            f"if {_columns(before)} was only renamed to {_columns(after)}, values stay as they are: write "
            "op.register_sealed_column here, with the type and the new row_columns"
        )
    elif not type_.scheme.row_bound:
        rows = replace(rows, row_columns=before.row_columns)
    operation.rows = rows
    return [operation]


def _renamed_tenant(entry: Entry, asked: Entry, type_: EncryptedType, model: Table) -> list[TableOp]:
    """Return the operation that notes another tenant column, whose rows are the same tenants'."""
    old, (schema, table, column) = entry.encrypted_type(), entry.name
    if entry.tenant_column == asked.tenant_column or old is None:
        return []
    log.info("Detected another tenant column of %s", entry.name)
    before = RegisterSealedColumnOp(table, column, old, rows=entry.rows, schema=schema)
    rows = TableRows.of(model, type_)
    return [RegisterSealedColumnOp(table, column, type_, rows=rows, schema=schema, before=before)]


def _tenant(rows: TableRows) -> dict[str, Any]:
    return {"tenant_column": rows.tenant_column, "tenant_type": rows.tenant_type}


def _columns(rows: TableRows) -> str:
    return ", ".join(name for name, _ in rows.row_columns)


def _with_types(entry: Entry, model: Table) -> Entry:
    """Return an entry whose row identity was noted without its columns or types with the model's."""
    if not entry.scheme.row_bound:
        return entry
    names = [name for name, _ in entry.row_columns] or [one.name for one in model.primary_key]
    noted = dict(entry.row_columns)
    known = {one.name: type_text(one.type) for one in model.columns}
    return replace(entry, row_columns=tuple((name, noted.get(name) or known.get(name, "")) for name in names))
