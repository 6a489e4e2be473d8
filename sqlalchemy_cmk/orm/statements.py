"""Statements: every value for a sealed column is sealed before the statement is compiled.

By then the row is at hand, which decides the tenant, and what SQLAlchemy might show in an error or a log
are sealed values. What is left to the type's bind processor are the values in WHERE clauses.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, CompoundSelect, Connection, Delete, Insert, Select, Table, Update
from sqlalchemy.sql import visitors

from sqlalchemy_cmk.marked import is_marked
from sqlalchemy_cmk.orm.inserts import seal_insert
from sqlalchemy_cmk.orm.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.orm.updates import seal_update
from sqlalchemy_cmk.types import EncryptedType

Params = tuple[Any, list[dict[str, Any]]]


def before_execute(
    connection: Connection, statement: Any, multiparams: Any, params: Any, execution_options: Any
) -> tuple[Any, Any, Any]:
    """Seal what an INSERT or UPDATE writes, and the named parameters of criteria."""
    if isinstance(statement, Insert | Update):
        table = _plain_table(statement.table)
        if table is not None and _concerns(table):
            many = bool(multiparams)
            rows = _own_rows(multiparams if many else [params] if params else [], execution_options)
            seal = seal_insert if isinstance(statement, Insert) else seal_update
            statement, rows = seal(connection, statement, table, rows)  # type: ignore[arg-type]
            if isinstance(statement, Update) and "compiled_cache" not in execution_options:
                rows = _seal_criteria(statement, rows)
            return (statement, rows, {}) if many else (statement, [], rows[0] if rows else {})
    elif isinstance(statement, Select | CompoundSelect | Delete) and (params or multiparams):
        rows = _seal_criteria(
            statement, [dict(row) for row in multiparams] if multiparams else [dict(params)]
        )
        return (statement, rows, {}) if multiparams else (statement, [], rows[0])
    return statement, multiparams, params


def _own_rows(rows: list[Any], execution_options: Any) -> list[dict[str, Any]]:
    """Return parameters that may be changed: the unit of work's own as they are, the caller's copied.

    Only the unit of work runs statements with a compiled cache of its own. Ten thousand copies would cost a
    run of the garbage collector.
    """
    return list(rows) if "compiled_cache" in execution_options else [dict(row) for row in rows]


def _plain_table(table: Any) -> Table | None:
    """Return the table itself: the ORM's statements carry annotated copies of it."""
    return table.metadata.tables.get(table.key, table) if isinstance(table, Table) else None


def _concerns(table: Table) -> bool:
    """Tell whether a table has sealed columns, or the tenant column of rows that have."""
    return bool(sealed_columns(table)) or tenant_source(table) is not None


def _seal_criteria(statement: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Seal parameters given by name in criteria: an error would show them in plain text."""
    if not rows or not any(rows):
        return rows
    named = {
        bind.key: bind.type.place
        for bind in visitors.iterate(statement)
        if isinstance(bind, BindParameter) and isinstance(bind.type, EncryptedType)
    }
    for row in rows:
        for key, place in named.items():
            if place is not None and row.get(key) is not None:
                row[key] = _seal_in_scope(place, row[key])
    return rows


def _seal_in_scope(place: Any, value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_seal_in_scope(place, one) for one in value]
    return value if is_marked(value) else place.seal_in_scope(value)
