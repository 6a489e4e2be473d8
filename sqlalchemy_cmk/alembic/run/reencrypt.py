"""What ``op.reencrypt`` does: under other DEKs, or as another type says."""

from __future__ import annotations

from dataclasses import replace

from alembic.operations import Operations
from sqlalchemy import String

from sqlalchemy_cmk.alembic.configuration import model_table
from sqlalchemy_cmk.alembic.conversion.conversion import convert, convert_in_place
from sqlalchemy_cmk.alembic.conversion.every_row import every_row_seen
from sqlalchemy_cmk.alembic.conversion.explained import explained
from sqlalchemy_cmk.alembic.conversion.offline import say
from sqlalchemy_cmk.alembic.conversion.plan import Plan, bound
from sqlalchemy_cmk.alembic.jobs import run_job
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.reencrypt import ChangeSchemeOp, ReencryptOp
from sqlalchemy_cmk.alembic.registry.read import Entry
from sqlalchemy_cmk.alembic.registry.write import registry_of
from sqlalchemy_cmk.alembic.rows import TableRows, typed
from sqlalchemy_cmk.columns.scheme import Scheme
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey import Job, Move


@Operations.implementation_for(ReencryptOp)
def _reencrypt(operations: Operations, operation: ReencryptOp) -> None:
    if not _is_offline(operations, operation.where):
        run_job(operations, _job(operations, operation))


@Operations.implementation_for(ChangeSchemeOp)
def _change_scheme(operations: Operations, operation: ChangeSchemeOp) -> None:
    if _is_offline(operations, operation.where):
        return
    if operation.existing_type is None or operation.type_ is None:
        raise ConfigurationError(f"{operation.where}: the migration does not say the column's old type")
    name, context = operation.name, operations.migration_context
    old, new = bound(operation.existing_type, name), bound(operation.type_, name)
    rows = operation.rows.completed(context, name.schema, name.table, old, new)
    existing = typed(operation.existing_row_columns, model_table(context, *name.of_table))
    nullable = _is_nullable(operations, name)
    plan = Plan(name.table, name.schema, name.column, old, new, nullable, None, rows, existing)

    def work() -> None:
        with every_row_seen(operations, plan):
            if _is_in_place(operations, old, new):
                convert_in_place(operations, plan)
            else:
                convert(operations, [plan], "all")

    explained(operations, plan.where, work)


def _is_offline(operations: Operations, where: str) -> bool:
    if operations.migration_context.as_sql:
        say(operations, f"{where}: re-encrypting needs a live database and keys: run this online")
    return operations.migration_context.as_sql


def _is_in_place(operations: Operations, old: EncryptedType, new: EncryptedType) -> bool:
    """Return whether the engine can write the new values where the old ones are, and they fit there."""
    dialect = operations.migration_context.dialect
    if str(old.compile(dialect=dialect)) != str(new.compile(dialect=dialect)):
        return False
    both_text = isinstance(old.type_, String) and isinstance(new.type_, String)
    return both_text or (
        repr(old.type_) == repr(new.type_) and old.scheme.deterministic is new.scheme.deterministic
    )


def _is_nullable(operations: Operations, name: ColumnName) -> bool:
    for column in reflected_columns(operations.get_bind(), name.table, name.schema):
        if column["name"] == name.column:
            return bool(column["nullable"])
    raise ConfigurationError(f"there is no column {name}")


def _job(operations: Operations, operation: ReencryptOp) -> Job:
    """Return the job for columns as the table of sealed columns has them, or else as the models do."""
    place = operation.schema, operation.table_name
    models = _of_models(operations, *place)
    entries = {
        column: Entry.of(ColumnName(*place, column), type_, rows) for column, (type_, rows) in models.items()
    }
    known = registry_of(operations).entries()
    entries |= {name.column: entry for name, entry in known.items() if name.of_table == place}
    chosen = operation.columns or tuple(n for n, entry in entries.items() if _can_be(entry, operation.tenant))
    missing = [name for name in chosen if name not in entries or not _can_be(entries[name], operation.tenant)]
    if missing or not chosen:
        whose = "" if operation.tenant is None else f" with values of tenant {operation.tenant!r}"
        raise ConfigurationError(
            f"{operation.where}: no sealed column {', '.join(missing) or 'at all'}{whose} is known here"
        )
    moves = []
    for name in chosen:
        type_ = entries[name].encrypted_type()
        if type_ is None:
            raise ConfigurationError(f"{entries[name].name}: its type {entries[name].type} is not known here")
        accepts = models[name][0].scheme if name in models else Scheme()
        whole = bound(type_, entries[name].name).with_options(
            accept_plaintext=accepts.accept_plaintext, accept_legacy=accepts.accept_legacy
        )
        moves.append(Move(name, name, whole, whole))
    types = [move.seals for move in moves]
    rows = _rows([entries[name] for name in chosen])
    rows = rows.completed(operations.migration_context, *place, *types)
    return rows.job(*place, tuple(moves), operation.tenant or None)


def _can_be(entry: Entry, tenant: str | None) -> bool:
    """Return whether a column holds values of a tenant, or of the platform; ``None`` stands for any."""
    return tenant is None or (entry.owner == "row") is bool(tenant)


def _rows(entries: list[Entry]) -> TableRows:
    """Return what all these columns of one table depend on."""
    rows = next((one for one in entries if one.tenant_column is not None), entries[0]).rows
    identity = next((one.rows.row_columns for one in entries if one.row_columns), ())
    return replace(rows, row_columns=identity)


def _of_models(
    operations: Operations, schema: str | None, name: str
) -> dict[str, tuple[EncryptedType, TableRows]]:
    """Return the sealed columns of a table as the models have them now."""
    table = model_table(operations.migration_context, schema, name)
    if table is None:
        return {}
    types: list[EncryptedType] = [one.column.type for one in sealed_columns(table).values()]  # type: ignore[misc]
    names = [one.column.name for one in sealed_columns(table).values()]
    return {name: (type_, TableRows.of(table, type_)) for name, type_ in zip(names, types, strict=True)}
