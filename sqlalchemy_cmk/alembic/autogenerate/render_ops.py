"""Writes the operations into a migration; imported when autogenerate begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp

from sqlalchemy_cmk.alembic.autogenerate.render_types import render_type
from sqlalchemy_cmk.alembic.configuration import DEFAULT_PREFIX
from sqlalchemy_cmk.alembic.ops.base import ColumnOp, TableOp
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.alembic.ops.convert_columns import ConversionsOp, DecryptColumnsOp, EncryptColumnsOp
from sqlalchemy_cmk.alembic.ops.key_tables import CreateKeyTablesOp, DropKeyTablesOp
from sqlalchemy_cmk.alembic.ops.reencrypt import ChangeSchemeOp, ReencryptOp
from sqlalchemy_cmk.alembic.ops.register import (
    RegisterSealedColumnOp,
    RenameSealedColumnOp,
    RenameSealedTableOp,
    UnregisterSealedColumnOp,
)
from sqlalchemy_cmk.alembic.ops.sealed_indexes import (
    CreateSealedIndexOp,
    DropSealedIndexOp,
    RebuildSealedIndexOp,
    SealedIndexOp,
)
from sqlalchemy_cmk.alembic.ops.tenant_keys import (
    AssignTenantKeyOp,
    DropRetiredDeksOp,
    RewrapKeysOp,
    RotateDekOp,
    ShredTenantOp,
)
from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp, RefuseDowngradeOp
from sqlalchemy_cmk.alembic.rows import TableRows, needs_no_name
from sqlalchemy_cmk.rekey.job import RowColumns
from sqlalchemy_cmk.runtime.printable import printable
from sqlalchemy_cmk.search.definitions import index_text

UNKNOWN = "its old type cannot be found any more: write it here by hand, or this operation refuses"


@renderers.dispatch_for(EncryptColumnOp)
def _encrypt(context: AutogenContext, op: EncryptColumnOp) -> list[str]:
    options = _conversion(context, op, "existing_server_default")
    options += ["mixed=True"] if op.options.mixed else []
    return _lines(context, op, "encrypt_column", [render_type(op.type_, context), *options])


@renderers.dispatch_for(DecryptColumnOp)
def _decrypt(context: AutogenContext, op: DecryptColumnOp) -> list[str]:
    options = _conversion(context, op, "server_default")
    return _lines(context, op, "decrypt_column", [render_type(op.type_, context), *options])


@renderers.dispatch_for(EncryptColumnsOp)
def _encrypt_together(context: AutogenContext, op: EncryptColumnsOp) -> list[str]:
    return _together(context, op, "encrypt_columns", "existing_server_defaults")


@renderers.dispatch_for(DecryptColumnsOp)
def _decrypt_together(context: AutogenContext, op: DecryptColumnsOp) -> list[str]:
    return _together(context, op, "decrypt_columns", "server_defaults")


@renderers.dispatch_for(CreateKeyTablesOp)
@renderers.dispatch_for(DropKeyTablesOp)
def _key_tables(context: AutogenContext, op: CreateKeyTablesOp | DropKeyTablesOp) -> list[str]:
    return [_call(context, op.name, _keywords(prefix=None if op.prefix == DEFAULT_PREFIX else op.prefix))]


@renderers.dispatch_for(ReencryptOp)
def _reencrypt(context: AutogenContext, op: ReencryptOp) -> list[str]:
    columns = [repr(list(op.columns))] if op.columns else []
    arguments = [repr(op.table_name), *columns, *_keywords(tenant=op.tenant, schema=op.schema)]
    return [*_comments(op), _call(context, "reencrypt", arguments)]


@renderers.dispatch_for(ChangeSchemeOp)
def _change_scheme(context: AutogenContext, op: ChangeSchemeOp) -> list[str]:
    arguments = [
        f"type_={_existing(context, op.type_)}",
        f"existing_type={_existing(context, op.existing_type)}",
        *_rows(context, op.rows),
        *_row_columns(context, "existing_row_columns", op.existing_row_columns),
        *_keywords(schema=op.schema),
    ]
    return _lines(context, op, "reencrypt", arguments)


@renderers.dispatch_for(RegisterSealedColumnOp)
def _register(context: AutogenContext, op: RegisterSealedColumnOp) -> list[str]:
    arguments = [render_type(op.type_, context), *_rows(context, op.rows), *_keywords(schema=op.schema)]
    return _lines(context, op, "register_sealed_column", arguments)


@renderers.dispatch_for(UnregisterSealedColumnOp)
def _unregister(context: AutogenContext, op: UnregisterSealedColumnOp) -> list[str]:
    return _lines(context, op, "unregister_sealed_column", _keywords(schema=op.schema))


@renderers.dispatch_for(RenameSealedColumnOp)
def _rename_column(context: AutogenContext, op: RenameSealedColumnOp) -> list[str]:
    altered = AlterColumnOp(
        op.table_name, op.column_name, schema=op.schema, modify_name=op.new_name, **op.existing
    )
    return [*_comments(op), render_op_text(context, altered)]


@renderers.dispatch_for(RenameSealedTableOp)
def _rename_table(context: AutogenContext, op: RenameSealedTableOp) -> list[str]:
    arguments = [repr(op.table_name), repr(op.new_name), *_keywords(schema=op.schema)]
    return [*_comments(op), _call(context, "rename_table", arguments)]


@renderers.dispatch_for(CreateSealedIndexOp)
@renderers.dispatch_for(DropSealedIndexOp)
@renderers.dispatch_for(RebuildSealedIndexOp)
def _sealed_index(context: AutogenContext, op: SealedIndexOp) -> list[str]:
    index = "None" if op.index is None else index_text(op.index, context.imports)
    given = op.existing_type
    existing = [] if given is None else [f"existing_type={_existing(context, given)}"]
    phase = _keywords(phase=None if op.phase == "all" else op.phase)
    arguments = [index, *existing, *_rows(context, op.rows), *phase, *_keywords(schema=op.schema)]
    return _lines(context, op, op.function, arguments)


@renderers.dispatch_for(NothingToUndoOp)
def _nothing(context: AutogenContext, op: NothingToUndoOp) -> str:
    return _call(context, "nothing_to_undo", [repr(op.reason)])


@renderers.dispatch_for(RefuseDowngradeOp)
def _refuse(context: AutogenContext, op: RefuseDowngradeOp) -> str:
    return _call(context, "refuse_downgrade", [repr(op.reason)])


@renderers.dispatch_for(RewrapKeysOp)
def _rewrap(context: AutogenContext, op: RewrapKeysOp) -> str:
    return _call(context, "rewrap_keys", _keywords(tenant=op.tenant))


@renderers.dispatch_for(RotateDekOp)
def _rotate(context: AutogenContext, op: RotateDekOp) -> str:
    return _call(context, "rotate_dek", [repr(op.tenant), repr(op.purpose)])


@renderers.dispatch_for(AssignTenantKeyOp)
def _assign(context: AutogenContext, op: AssignTenantKeyOp) -> str:
    keywords = _keywords(fresh_dek=op.fresh_dek or None, existing_kek=op.existing_kek)
    return _call(context, "assign_tenant_key", [repr(op.tenant), repr(op.kek), *keywords])


@renderers.dispatch_for(ShredTenantOp)
def _shred(context: AutogenContext, op: ShredTenantOp) -> str:
    return _call(context, "shred_tenant", [repr(op.tenant), *_keywords(rows=op.rows, confirm=op.confirm)])


@renderers.dispatch_for(DropRetiredDeksOp)
def _drop_retired(context: AutogenContext, op: DropRetiredDeksOp) -> str:
    return _call(context, "drop_retired_deks", _keywords(tenant=op.tenant, ignoring=op.ignoring or None))


def _conversion(context: AutogenContext, op: ConversionOp, default: str) -> list[str]:
    given = op.options
    options = [f"existing_type={_existing(context, op.existing_type)}"]
    options.append(f"existing_nullable={given.nullable!r}")
    options += [f"{default}={_default(context, given.default)}"] if given.default is not None else []
    return options + _rows(context, given.rows) + _keywords(schema=op.schema)


def _together(context: AutogenContext, op: ConversionsOp, name: str, default: str) -> list[str]:
    def by_column(keyword: str, value_of: Callable[[ConversionOp], str | None]) -> list[str]:
        found = {one.column_name: value_of(one) for one in op.conversions}
        entries = [f"{column!r}: {value}" for column, value in found.items() if value is not None]
        return [f"{keyword}{{{', '.join(entries)}}}"] if entries else []

    def default_of(one: ConversionOp) -> str | None:
        return None if one.options.default is None else _default(context, one.options.default)

    arguments = [
        repr(op.table_name),
        *by_column("", lambda one: _existing(context, one.type_)),
        *by_column("existing_types=", lambda one: _existing(context, one.existing_type)),
        *by_column("existing_nullable=", lambda one: None if one.options.nullable else "False"),
        *by_column(f"{default}=", default_of),
        *_rows(context, op.conversions[0].options.rows),
        *_keywords(schema=op.schema),
    ]
    return [_call(context, name, arguments)]


def _rows(context: AutogenContext, rows: TableRows) -> list[str]:
    options = _keywords(tenant_column=rows.tenant_column)
    if rows.tenant_type is not None and not needs_no_name(rows.tenant_type):
        options.append(f"tenant_type={render_type(rows.tenant_type, context)}")
    return options + _row_columns(context, "row_columns", rows.row_columns)


def _row_columns(context: AutogenContext, keyword: str, columns: RowColumns) -> list[str]:
    if not columns:
        return []
    if all(needs_no_name(type_) for _, type_ in columns):
        return [f"{keyword}={tuple(name for name, _ in columns)!r}"]
    types = (f"{name!r}: {_existing(context, type_)}" for name, type_ in columns)
    return [f"{keyword}={{{', '.join(types)}}}"]


def _existing(context: AutogenContext, type_: Any) -> str:
    return "None" if type_ is None else render_type(type_, context)


def _default(context: AutogenContext, default: str) -> str:
    return f"{context.opts['sqlalchemy_module_prefix'] or ''}text({default!r})"


def _lines(context: AutogenContext, op: ColumnOp, name: str, arguments: list[str]) -> list[str]:
    return [*_comments(op), _call(context, name, [repr(op.table_name), repr(op.column_name), *arguments])]


def _comments(op: TableOp) -> list[str]:
    types = (getattr(op, "type_", ""), getattr(op, "existing_type", ""))
    # An UnregisterSealedColumnOp needs no type.
    unknown = [UNKNOWN] if isinstance(op, ConversionOp | ChangeSchemeOp) and None in types else []
    return [f"# {printable(line)}" for line in op.comments + unknown]


def _call(context: AutogenContext, name: str, arguments: list[str]) -> str:
    opening = f"{context.opts['alembic_module_prefix'] or ''}{name}("
    text = f"{opening}{', '.join(arguments)})"
    if len(text) <= 100:
        return text
    indent = " " * len(opening)
    return (
        f"{opening}{arguments[0]}, " + f",\n{indent}".join([", ".join(arguments[1:2]), *arguments[2:]]) + ")"
    )


def _keywords(**values: Any) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items() if value is not None]
