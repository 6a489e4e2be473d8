"""What ``op.encrypt_column``, ``op.decrypt_column`` and ``op.reencrypt`` do."""

from __future__ import annotations

from typing import Any

from alembic.operations import Operations
from sqlalchemy import String, inspect

from sqlalchemy_cmk.alembic.configuration import metadatas
from sqlalchemy_cmk.alembic.conversion.conversion import Conversion
from sqlalchemy_cmk.alembic.conversion.mixed import make_mixed
from sqlalchemy_cmk.alembic.conversion.offline import say, write_conversion
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.alembic.operations import ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.alembic.registering import register, registry_of
from sqlalchemy_cmk.alembic.registry import Entry
from sqlalchemy_cmk.alembic.running import run_job
from sqlalchemy_cmk.alembic.sealed_operations import ReencryptOp
from sqlalchemy_cmk.alembic.tenants import Tenancy
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.rekey import Job, Move, pinned
from sqlalchemy_cmk.types import EncryptedType


@Operations.implementation_for(EncryptColumnOp)
def _encrypt(operations: Operations, operation: EncryptColumnOp) -> None:
    plan = _plan(operations, operation, None)
    if operation.mixed:
        make_mixed(operations, plan)
    else:
        _convert(operations, operation, plan)


@Operations.implementation_for(DecryptColumnOp)
def _decrypt(operations: Operations, operation: DecryptColumnOp) -> None:
    _convert(operations, operation, _plan(operations, operation, operation.default))


@Operations.implementation_for(ReencryptOp)
def _reencrypt(operations: Operations, operation: ReencryptOp) -> None:
    if operations.migration_context.as_sql:
        say(operations, f"{operation.where}: re-encrypting needs a live database and keys: run this online")
    elif operation.type_ is None or operation.existing_type is None:
        run_job(operations, _job(operations, operation))
    else:
        _change_type(operations, operation, operation.existing_type, operation.type_)


def _convert(operations: Operations, operation: ConversionOp, plan: Plan) -> None:
    if operations.migration_context.as_sql:
        write_conversion(operations, plan, operation.phase)
        return
    conversion = Conversion(operations, plan)
    conversion.run(operation.phase)
    if operation.scrub and operation.phase in ("all", "swap"):
        conversion.scrub()


def _plan(operations: Operations, operation: ConversionOp, default: str | None) -> Plan:
    if operation.existing_type is None or operation.type_ is None:
        raise ConfigurationError(f"{operation.where}: the migration does not say the column's old type")
    return Plan(
        operation.table_name,
        operation.schema,
        operation.column_name,
        _bound(operation.existing_type, operation.where),
        _bound(operation.type_, operation.where),
        operation.existing_nullable,
        default,
        operation.tenancy.completed(operations.migration_context, operation.fullname),
    )


def _bound(type_: Any, where: str) -> Any:
    """Return a type that belongs to no column; a sealed one with its context."""
    if not isinstance(type_, EncryptedType):
        return type_() if isinstance(type_, type) else type_
    if type_.context:
        return pinned(type_)
    bound = type_.copy()
    bound.context = where
    return bound


def _change_type(
    operations: Operations, operation: ReencryptOp, existing: EncryptedType, type_: EncryptedType
) -> None:
    where = operation.where
    tenancy = operation.tenancy.completed(operations.migration_context, operation.fullname)
    old, new = _bound(existing, where), _bound(type_, where)
    name = operation.columns[0]
    if _is_in_place(operations, old, new):
        move = Move(name, name, old, new)
        job = Job(operation.table_name, (move,), operation.schema, tenancy.column, tenancy.type_)
        run_job(operations, job)
        register(operations, Entry.of(operation.fullname, name, new, tenancy))
        return
    nullable = _is_nullable(operations, operation)
    plan = Plan(operation.table_name, operation.schema, name, old, new, nullable, None, tenancy)
    Conversion(operations, plan).run("all")


def _is_in_place(operations: Operations, old: EncryptedType, new: EncryptedType) -> bool:
    """Tell whether the engine can write the new values where the old ones are, and they fit there."""
    dialect = operations.migration_context.dialect
    if str(old.compile(dialect=dialect)) != str(new.compile(dialect=dialect)):
        return False
    both_text = isinstance(old.type_, String) and isinstance(new.type_, String)
    return both_text or (repr(old.type_) == repr(new.type_) and old.deterministic is new.deterministic)


def _is_nullable(operations: Operations, operation: ReencryptOp) -> bool:
    inspector = inspect(operations.get_bind())
    for column in inspector.get_columns(operation.table_name, schema=operation.schema):
        if column["name"] == operation.columns[0]:
            return bool(column["nullable"])
    raise ConfigurationError(f"there is no column {operation.where}")


def _job(operations: Operations, operation: ReencryptOp) -> Job:
    """Return the job for columns as the table of sealed columns has them, or else as the models do."""
    known = registry_of(operations).entries()
    entries = {column: entry for (table, column), entry in known.items() if table == operation.fullname}
    models = _of_models(operations, operation.fullname)
    entries = {name: Entry.of(operation.fullname, name, *model) for name, model in models.items()} | entries
    mixed = {name for name, (type_, _) in models.items() if type_.accept_plaintext}
    names = operation.columns or tuple(entries)
    missing = [name for name in names if name not in entries]
    if missing or not names:
        raise ConfigurationError(
            f"{operation.fullname}: no sealed column {', '.join(missing) or 'at all'} is known here"
        )
    moves = []
    for name in names:
        type_ = entries[name].encrypted_type()
        if type_ is None:
            raise ConfigurationError(
                f"{operation.fullname}.{name}: its type {entries[name].type} is not known here"
            )
        bound = _bound(type_, f"{operation.fullname}.{name}")
        bound.accept_plaintext = name in mixed
        moves.append(Move(name, name, bound, bound))
    tenancy = entries[names[0]].tenancy.completed(operations.migration_context, operation.fullname)
    place = operation.table_name, tuple(moves), operation.schema
    return Job(*place, tenancy.column, tenancy.type_, tenant=operation.tenant)


def _of_models(operations: Operations, fullname: str) -> dict[str, tuple[EncryptedType, Tenancy]]:
    """Return the sealed columns of a table as the models have them now."""
    for metadata in metadatas(operations.migration_context):
        if fullname in metadata.tables:
            table = metadata.tables[fullname]
            types = ((column.name, column.type) for column in table.columns)
            return {
                name: (type_, Tenancy.of(table)) for name, type_ in types if isinstance(type_, EncryptedType)
            }
    return {}
