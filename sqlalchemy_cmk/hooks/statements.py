"""Statements: what rows write is sealed before they are compiled, what they compare before they are sent.

When a statement is compiled, its rows are at hand, which decide the tenant; what SQLAlchemy might show in an
error or a log are sealed values by then. Values of criteria are sealed just before the driver gets them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    Delete,
    Insert,
    Select,
    Table,
    TypeCoerce,
    Update,
)
from sqlalchemy.sql import visitors

from sqlalchemy_cmk.columns.asked import refuse_unanswered
from sqlalchemy_cmk.columns.index_catalogues import look_at_indexes
from sqlalchemy_cmk.columns.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.candidates import refuse_candidates, widen
from sqlalchemy_cmk.hooks.criteria import hide, pass_criteria, seal_criteria, seal_named
from sqlalchemy_cmk.hooks.equality import equalities, pinned
from sqlalchemy_cmk.hooks.flush import flushed_row
from sqlalchemy_cmk.hooks.inserts import seal_insert
from sqlalchemy_cmk.hooks.meeting import meet_database
from sqlalchemy_cmk.hooks.raw_text import guard_text
from sqlalchemy_cmk.hooks.returning import open_batches, refuse_unbound
from sqlalchemy_cmk.hooks.rewriting import rewritten
from sqlalchemy_cmk.hooks.sql_text import note_sql_text
from sqlalchemy_cmk.hooks.unsupported import dry_run_in, refuse_unsupported
from sqlalchemy_cmk.hooks.updates import seal_update
from sqlalchemy_cmk.hooks.values import known_value
from sqlalchemy_cmk.keys.dry_run import is_under_way, noting
from sqlalchemy_cmk.keys.storage.callers import lending

Row = dict[str, Any]


def before_execute(
    connection: Connection, statement: Any, multiparams: Any, params: Any, execution_options: Any
) -> tuple[Any, Any, Any]:
    """Seal what an INSERT or UPDATE writes, and hide the named parameters of criteria."""
    look_at_indexes(connection)
    many = bool(multiparams)
    if params and not many:
        params = dict(params)
    known = private.resolved(statement)
    changed = rewritten(known, None if many else params)
    # A lambda is sent as it is where nothing has to be changed: so it is not compiled again.
    if changed is not known or params or many or not isinstance(known, Select | CompoundSelect):
        statement = changed
    if isinstance(statement, Insert | Update):
        table = _plain_table(statement.table)
        if table is None or not _concerns(table):
            return statement, multiparams, params
        flushed = private.bulk_persists(execution_options)
        rows = _own_rows(multiparams if many else [params] if params else [], flushed)
        seal = seal_insert if isinstance(statement, Insert) else seal_update
        with noting(table.metadata), lending(connection):
            statement, rows = seal(connection, statement, table, rows)  # type: ignore[arg-type]
        if isinstance(statement, Update) and not flushed:
            hide(_binds(statement, rows[0] if rows else {}), rows)
    elif isinstance(statement, Select | CompoundSelect | Delete) and (params or many):
        rows = [dict(row) for row in multiparams] if many else [dict(params)]
        binds = _binds(statement, rows[0])
        if binds and isinstance(statement, Delete):
            with lending(connection):
                _seal_keys(connection, statement, rows)
        hide(binds, rows)
    else:
        return statement, multiparams, params
    return (statement, rows, {}) if many else (statement, [], rows[0] if rows else {})


def before_cursor_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    """Refuse what sealed values cannot serve, and seal the values of criteria; in a dry run note it only."""
    guard_text(connection, statement, context)
    if is_under_way():
        note_sql_text(statement, getattr(context, "compiled", None))
    if getattr(context, "compiled", None) is not None:
        dry_run = dry_run_in(context.compiled)
        if dry_run is not None:
            dry_run.refuse_sealed(connection)
        else:
            meet_database(connection, context.compiled)
        refuse_unsupported(context.compiled, dry_run)
        refuse_unanswered(context.compiled, connection)
        refuse_unbound(context)
        refuse_candidates(connection, context)
        if dry_run is None:
            with lending(connection):
                parameters = seal_criteria(context, parameters, executemany)
            parameters = widen(context, parameters)
        else:
            parameters = pass_criteria(context, parameters, executemany, dry_run)
        if private.is_in_batches(context):
            open_batches(context)
    return statement, parameters


def _own_rows(rows: list[Any], flushed: bool) -> list[Row]:
    """Return parameters that may be changed: the unit of work's own as they are, the caller's copied.

    Ten thousand copies would cost a run of the garbage collector.
    """
    return list(rows) if flushed else [dict(row) for row in rows]


def _plain_table(table: Any) -> Table | None:
    """Return the table itself: the ORM's statements carry annotated copies of it."""
    return table.metadata.tables.get(table.key, table) if isinstance(table, Table) else None


def _concerns(table: Table) -> bool:
    """Return whether a table has sealed columns, or the tenant column of rows that have."""
    return bool(sealed_columns(table)) or tenant_source(table) is not None


def _binds(statement: Any, given: Row) -> list[BindParameter[Any]]:
    """Return the given parameters of a statement that stand for values of sealed columns."""
    top = [bind for _, bind in equalities(getattr(statement, "whereclause", None)) if bind.key in given]
    # Usually these are all: a statement is not gone through as a whole to load one row.
    binds = top if {bind.key for bind in top} == given.keys() else visitors.iterate(statement)
    typed = (one.typed_expression if isinstance(one, TypeCoerce) else one for one in binds)
    return [one for one in typed if isinstance(one, BindParameter) and _is_secret(one.type)]


def _is_secret(type_: Any) -> bool:
    return hasattr(type_, "sealed_column") or isinstance(type_, TokenType)


def _seal_keys(connection: Connection, statement: Delete, rows: list[Row]) -> None:
    """Seal the keys of rows that a flush deletes, each under its own tenant."""
    table = _plain_table(statement.table)
    if table is None:
        return
    found = pinned(statement.whereclause, table)
    keys = [str(column.key) for column in table.primary_key]
    if not keys or any(key not in found for key in keys):
        return
    for row in rows:
        flushed = flushed_row(table, tuple(known_value(found[key], row) for key in keys))
        if flushed is not None:
            seal_named(connection, [found[key] for key in keys], [row], [flushed.tenant])
