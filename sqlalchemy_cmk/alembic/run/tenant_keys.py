"""What the operations on tenants' keys do: on the keyring's connections, with nothing uncommitted here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from alembic.operations import Operations
from sqlalchemy import (
    ColumnElement,
    Dialect,
    Table,
    delete,
    exists,
    null,
    update,
)

from sqlalchemy_cmk.alembic.configuration import keyring_of, metadatas
from sqlalchemy_cmk.alembic.conversion.offline import say
from sqlalchemy_cmk.alembic.jobs import ProgressLog, committed
from sqlalchemy_cmk.alembic.ops.tenant_keys import (
    AssignTenantKeyOp,
    DropRetiredDeksOp,
    KeyOp,
    RewrapKeysOp,
    RotateDekOp,
    ShredTenantOp,
)
from sqlalchemy_cmk.columns.tenants import rows_of, sealed_columns, tenant_source
from sqlalchemy_cmk.errors import ApprovalRequired, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.rekey import drop_retired
from sqlalchemy_cmk.rekey.every_row import refuse_hidden
from sqlalchemy_cmk.scope import tenant_scope

log = logging.getLogger(__name__)


def _with_keys(operations: Operations, operation: KeyOp, work: Callable[[], object]) -> None:
    if operations.migration_context.as_sql:
        what = type(operation).__name__
        say(operations, f"{what} for {operation.whose} needs a live database and keys: run this online")
        return
    # The keyring's own connection would wait for what this one has written.
    with committed(operations):
        work()


@Operations.implementation_for(RewrapKeysOp)
def _rewrap(operations: Operations, operation: RewrapKeysOp) -> None:
    def work() -> None:
        keyring = keyring_of(operations.migration_context)
        shown, done, expected = ProgressLog("rewrap", "tenants"), count(1), 1
        if operation.tenant is None:
            states = keyring.count()
            expected = states.total() - states[TenantState.SHREDDED]
        report = keyring.lifecycle.rewrap(operation.tenant, progress=lambda: shown.say(next(done), expected))
        if report.failed:
            tenant, why = next(iter(report.failed.items()))
            left = len(report.failed)
            raise KeyUnavailable(f"the DEKs of {left} tenants are left, the first {tenant!r}: {why}")

    _with_keys(operations, operation, work)


@Operations.implementation_for(RotateDekOp)
def _rotate(operations: Operations, operation: RotateDekOp) -> None:
    def work() -> None:
        lifecycle = keyring_of(operations.migration_context).lifecycle
        lifecycle.rotate_dek(str(operation.tenant), operation.purpose)

    _with_keys(operations, operation, work)


@Operations.implementation_for(AssignTenantKeyOp)
def _assign(operations: Operations, operation: AssignTenantKeyOp) -> None:
    def work() -> None:
        lifecycle = keyring_of(operations.migration_context).lifecycle
        lifecycle.assign(str(operation.tenant), operation.kek, fresh_dek=operation.fresh_dek)

    _with_keys(operations, operation, work)


@Operations.implementation_for(DropRetiredDeksOp)
def _drop_retired(operations: Operations, operation: DropRetiredDeksOp) -> None:
    def work() -> None:
        keyring = keyring_of(operations.migration_context)
        report = drop_retired(keyring, operation.tenant, ignoring=operation.ignoring)
        for tenant, request in report.requested.items():
            raise ApprovalRequired(
                f"drop_retired_deks needs a second person for {len(report.requested)} tenants, the first "
                f"{tenant!r}: cmk requests lists what waits; then run this again",
                request,
                tenant,
            )
        log.info("%d retired DEKs of %s were destroyed", len(report.dropped), operation.whose)
        if report.kept:
            dek_id, why = next(iter(report.kept.items()))
            what = f"{len(report.kept)} retired DEKs of {operation.whose} were kept"
            raise ConfigurationError(f"{what}, the first {dek_id.hex()}: {why}")

    _with_keys(operations, operation, work)


@Operations.implementation_for(ShredTenantOp)
def _shred(operations: Operations, operation: ShredTenantOp) -> None:
    tenant = str(operation.tenant)

    def work() -> None:
        tables, dialect = _tenant_tables(operations), operations.get_bind().dialect
        if operation.rows == "null":
            _refuse_not_null(tables)
        if operation.rows != "keep":
            refuse_hidden(operations.get_bind(), tables)
        keyring_of(operations.migration_context).lifecycle.shred(tenant, confirm=operation.confirm)
        # The children of joined inheritance find their tenant in a row that is deleted after theirs.
        for table in reversed(tables) if operation.rows == "delete" else tables:
            for statement in _statements(table, tenant, operation.rows, dialect):
                with tenant_scope(tenant):
                    operations.execute(statement)

    _with_keys(operations, operation, work)


def _tenant_tables(operations: Operations) -> list[Table]:
    """Return the models' tables whose rows belong to tenants, those that others refer to first."""
    known = metadatas(operations.migration_context)
    tables = [table for metadata in known for table in metadata.sorted_tables]
    return [table for table in tables if tenant_source(table) is not None]


def _refuse_not_null(tables: list[Table]) -> None:
    for table in tables:
        for sealed in sealed_columns(table).values():
            if not sealed.column.nullable:
                raise ConfigurationError(
                    f'nothing was shredded: {sealed.where} takes no NULL; use rows="delete" or rows="keep"'
                )


def _statements(table: Table, tenant: str, rows: str, dialect: Dialect) -> list[Any]:
    theirs = _rows_of(table, tenant, dialect)
    if rows == "delete":
        return [delete(table).where(theirs)]
    columns = {sealed.column.name: null() for sealed in sealed_columns(table).values()}
    return [update(table).where(theirs).values(columns)] if rows == "null" and columns else []


def _rows_of(table: Table, tenant: str, dialect: Dialect) -> ColumnElement[bool]:
    source = tenant_source(table)
    if source is None:
        raise ConfigurationError(f"{table.fullname} has no tenant column")
    theirs = rows_of(source.column, source.column.type, tenant, dialect)
    if source.table is table:
        return theirs
    return exists().where(theirs, source.same_row)
