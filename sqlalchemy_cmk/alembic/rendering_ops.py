"""How the operations are written into a migration; imported when autogenerate begins."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp

from sqlalchemy_cmk.alembic.key_operations import (
    AssignTenantKeyOp,
    DropRetiredDeksOp,
    RewrapKeysOp,
    RotateDekOp,
    ShredTenantOp,
)
from sqlalchemy_cmk.alembic.operations import ColumnOp, ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.alembic.rendering import render_type
from sqlalchemy_cmk.alembic.sealed_operations import (
    ReencryptOp,
    RegisterSealedColumnOp,
    RenameSealedOp,
    UnregisterSealedColumnOp,
)
from sqlalchemy_cmk.alembic.undoing import NothingToUndoOp, RefuseDowngradeOp

UNKNOWN = "its old type is not to be had any more: write it here by hand, or this operation refuses"


@renderers.dispatch_for(EncryptColumnOp)
def _encrypt(context: AutogenContext, op: EncryptColumnOp) -> list[str]:
    options = _conversion(context, op, "existing_server_default")
    options += ["mixed=True"] if op.mixed else []
    return _lines(context, op, "encrypt_column", [render_type(op.type_, context), *options])


@renderers.dispatch_for(DecryptColumnOp)
def _decrypt(context: AutogenContext, op: DecryptColumnOp) -> list[str]:
    options = _conversion(context, op, "server_default")
    return _lines(context, op, "decrypt_column", [render_type(op.type_, context), *options])


@renderers.dispatch_for(ReencryptOp)
def _reencrypt(context: AutogenContext, op: ReencryptOp) -> list[str]:
    arguments = [repr(op.table_name), repr(list(op.columns) if len(op.columns) != 1 else op.columns[0])]
    arguments += [repr(op.tenant)] if op.tenant is not None else []
    if op.type_ is not None:
        arguments.append(f"type_={_existing(context, op.type_)}")
        arguments.append(f"existing_type={_existing(context, op.existing_type)}")
    arguments += _ownership(context, op)
    return [*_comments(op), _call(context, "reencrypt", arguments)]


@renderers.dispatch_for(RegisterSealedColumnOp)
def _register(context: AutogenContext, op: RegisterSealedColumnOp) -> list[str]:
    arguments = [render_type(op.type_, context), *_ownership(context, op)]
    return _lines(context, op, "register_sealed_column", arguments)


@renderers.dispatch_for(UnregisterSealedColumnOp)
def _unregister(context: AutogenContext, op: UnregisterSealedColumnOp) -> list[str]:
    return _lines(context, op, "unregister_sealed_column", _keywords(schema=op.schema))


@renderers.dispatch_for(RenameSealedOp)
def _rename(context: AutogenContext, op: RenameSealedOp) -> list[str]:
    if op.column_name:
        existing: dict[str, Any] = op.existing
        altered = AlterColumnOp(
            op.table_name, op.column_name, schema=op.schema, modify_name=op.new_name, **existing
        )
        return [*_comments(op), render_op_text(context, altered)]
    arguments = [repr(op.table_name), repr(op.new_name), *_keywords(schema=op.schema)]
    return [*_comments(op), _call(context, "rename_table", arguments)]


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
    return _call(context, "drop_retired_deks", _keywords(tenant=op.tenant))


def _conversion(context: AutogenContext, op: ConversionOp, default: str) -> list[str]:
    options = [f"existing_type={_existing(context, op.existing_type)}"]
    options.append(f"existing_nullable={op.existing_nullable!r}")
    options += [f"{default}={_default(context, op.default)}"] if op.default is not None else []
    return options + _ownership(context, op)


def _ownership(context: AutogenContext, op: ConversionOp | ReencryptOp | RegisterSealedColumnOp) -> list[str]:
    tenant_type = op.tenancy.type_
    options = _keywords(tenant_column=op.tenancy.column)
    options += [] if tenant_type is None else [f"tenant_type={render_type(tenant_type, context)}"]
    return options + _keywords(schema=op.schema)


def _existing(context: AutogenContext, type_: Any) -> str:
    return "None" if type_ is None else render_type(type_, context)


def _default(context: AutogenContext, default: str) -> str:
    return f"{context.opts['sqlalchemy_module_prefix'] or ''}text({default!r})"


def _lines(context: AutogenContext, op: ColumnOp, name: str, arguments: list[str]) -> list[str]:
    return [*_comments(op), _call(context, name, [repr(op.table_name), repr(op.column_name), *arguments])]


def _comments(op: ColumnOp) -> list[str]:
    unknown = [UNKNOWN] if isinstance(op, ConversionOp) and None in (op.type_, op.existing_type) else []
    return [f"# {line}" for line in op.comments + unknown]


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
