"""What autogenerate finds about sealed columns: models against the table of sealed columns and stored values.

Alembic compares a model's type with the column's type in the database, which for a sealed column says only
that it holds bytes, and would write an ``alter_column`` that destroys data. So the types of these columns are
compared here, once Alembic has compared everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp, UpgradeOps
from alembic.util import PriorityDispatchResult
from sqlalchemy import Column, Connection, Table
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic import rendering_ops  # noqa: F401
from sqlalchemy_cmk.alembic.configuration import key_tables
from sqlalchemy_cmk.alembic.operations import ColumnOp, ConversionOp, DecryptColumnOp, EncryptColumnOp
from sqlalchemy_cmk.alembic.registry import Entry, Registry
from sqlalchemy_cmk.alembic.renames import New, Renames, created_columns
from sqlalchemy_cmk.alembic.rendering import render_item
from sqlalchemy_cmk.alembic.sealed_operations import ReencryptOp, RegisterSealedColumnOp
from sqlalchemy_cmk.alembic.stored import Stored, deterministic, look
from sqlalchemy_cmk.alembic.tenants import Tenancy
from sqlalchemy_cmk.alembic.tidying import drop_notes, keep_shadows, make_repeatable
from sqlalchemy_cmk.keys.tables import KeyTables
from sqlalchemy_cmk.orm.columns import is_binary, python_type_of
from sqlalchemy_cmk.types import EncryptedType

log = logging.getLogger(__name__)

ASSUMED = "not in the table of sealed columns: its old type is assumed from the model's type"


@dataclass(slots=True)
class Pair:
    """A column as the model has it and as the database has it."""

    model: Column[Any]
    database: Column[Any]


@dataclass(slots=True)
class Comparison:
    """What one run of autogenerate has seen."""

    connection: Connection
    tables: KeyTables
    entries: dict[tuple[str, str], Entry]
    pairs: list[Pair] = field(default_factory=list)


_comparisons: WeakKeyDictionary[AutogenContext, Comparison] = WeakKeyDictionary()


def begin(autogen_context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Have types rendered by the plugin, behind an application's own ``render_item``."""
    opts = autogen_context.migration_context.opts
    theirs = opts.get("render_item")
    if not getattr(theirs, "renders_sealed_columns", False):

        def render(kind: str, item: Any, context: AutogenContext) -> Any:
            rendered = theirs(kind, item, context) if theirs else False
            return render_item(kind, item, context) if rendered is False else rendered

        render.renders_sealed_columns = True  # type: ignore[attr-defined]
        opts["render_item"] = render
    _comparison(autogen_context)
    return PriorityDispatchResult.CONTINUE


def note_column(
    autogen_context: AutogenContext,
    alter_column_op: AlterColumnOp,
    schema: str | None,
    table_name: str,
    column_name: str,
    database: Column[Any],
    model: Column[Any],
) -> PriorityDispatchResult:
    """Take a sealed column, or one that was sealed, out of Alembic's comparison of types."""
    comparison = _comparison(autogen_context)
    known = (model.table.fullname, model.name) in comparison.entries
    if not (isinstance(model.type, EncryptedType) or known or _was_sealed(autogen_context, model, database)):
        return PriorityDispatchResult.CONTINUE
    alter_column_op.existing_type = database.type
    comparison.pairs.append(Pair(model, database))
    return PriorityDispatchResult.STOP


def finish(autogen_context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Add what sealed columns need to what Alembic has found."""
    comparison = _comparison(autogen_context)
    keep_shadows(upgrade_ops)
    drop_notes(upgrade_ops)
    renames = _renames(autogen_context, comparison, upgrade_ops)
    found = [
        one for pair in comparison.pairs for one in _compared(autogen_context, comparison, pair, renames)
    ]
    if any(isinstance(one, ConversionOp | ReencryptOp) for one in found):
        make_repeatable(upgrade_ops, autogen_context.dialect)
    upgrade_ops.ops.extend([*renames.operations(), *found])
    return PriorityDispatchResult.CONTINUE


def _renames(context: AutogenContext, comparison: Comparison, upgrade_ops: UpgradeOps) -> Renames:
    tables = context.table_key_to_table
    made = (tables[table].c[column] for table, column in _of_models(tables, upgrade_ops))
    created = [_new(column) for column in made if isinstance(column.type, EncryptedType)]
    known = comparison.entries
    appeared = [
        _new(pair.model)
        for pair in comparison.pairs
        if isinstance(pair.model.type, EncryptedType)
        and (pair.model.table.fullname, pair.model.name) not in known
        and _stored(comparison, pair) is not Stored.PLAIN
    ]
    seen = {(pair.model.table.fullname, pair.model.name) for pair in comparison.pairs}
    inspector = context.inspector

    def exists(place: tuple[str, str]) -> bool:
        schema, _, name = place[0].rpartition(".")
        if place in seen:
            return True
        if not inspector.has_table(name, schema=schema or None):
            return False
        return any(one["name"] == place[1] for one in inspector.get_columns(name, schema=schema or None))

    return Renames(known, upgrade_ops, created, appeared, exists)


def _of_models(tables: Mapping[str, Table], upgrade_ops: UpgradeOps) -> Iterator[tuple[str, str]]:
    for table, column in created_columns(upgrade_ops):
        if table in tables:
            yield table, next(key for key, one in tables[table].c.items() if one.name == column)


def _new(column: Column[Any]) -> New:
    table = column.table
    return New(column, Entry.of(table.fullname, column.name, _sealed_type(column), Tenancy.of(table)))


def _comparison(autogen_context: AutogenContext) -> Comparison:
    found = _comparisons.get(autogen_context)
    if found is None:
        connection = cast(Connection, autogen_context.connection)
        tables = key_tables(autogen_context.migration_context)
        entries = Registry(tables.columns, connection).entries()
        found = _comparisons[autogen_context] = Comparison(connection, tables, entries)
    return found


def _compared(
    context: AutogenContext, comparison: Comparison, pair: Pair, renames: Renames
) -> list[ColumnOp]:
    model, table = pair.model, pair.model.table
    entry = comparison.entries.get((table.fullname, model.name))
    sealed = isinstance(model.type, EncryptedType)
    if entry is not None and sealed:
        return _changed(entry, pair)
    if entry is not None:
        return [_decrypt(pair, entry.encrypted_type(), entry.tenancy)]
    if not sealed:
        return [_decrypt_assumed(comparison.connection, pair)]
    if renames.found((table.fullname, model.name)):
        return []
    return _newly_sealed(context, comparison, pair)


def _changed(entry: Entry, pair: Pair) -> list[ColumnOp]:
    model, table, type_ = pair.model, pair.model.table, _sealed_type(pair.model)
    wanted = Entry.of(table.fullname, model.name, type_, Tenancy.of(table))
    old = entry.encrypted_type()
    now = Entry.of(table.fullname, model.name, old, entry.tenancy) if old is not None else entry
    if wanted.seal == now.seal:
        return []
    log.info("Detected another type of the sealed column %s.%s", table.fullname, model.name)
    options: dict[str, Any] = {"tenancy": wanted.tenancy, "schema": table.schema}
    return [ReencryptOp(table.name, [model.name], type_=type_, existing_type=old, **options)]


def _newly_sealed(context: AutogenContext, comparison: Comparison, pair: Pair) -> list[ColumnOp]:
    model, table, type_ = pair.model, pair.model.table, _sealed_type(pair.model)
    tenancy = Tenancy.of(table)
    stored = _stored(comparison, pair)
    if stored is Stored.EMPTY:
        # Made by create_all, and nothing is bound to anything yet: registered once it holds values.
        return []
    if stored is not Stored.PLAIN:
        log.info("Detected the sealed column %s.%s, not registered yet", table.fullname, model.name)
        return [RegisterSealedColumnOp(table.name, model.name, type_, tenancy=tenancy, schema=table.schema)]
    log.info("Detected that %s.%s becomes a sealed column", table.fullname, model.name)
    return [
        EncryptColumnOp(
            table.name,
            model.name,
            type_,
            _plain_type(context, pair, type_),
            existing_nullable=bool(model.nullable),
            default=_default_of(pair.database),
            tenancy=tenancy,
            schema=table.schema,
            mixed=type_.accept_plaintext,
        )
    ]


def _stored(comparison: Comparison, pair: Pair) -> Stored:
    """Look at an existing column's values. On SQLite sealed ones may be in a column of any type."""
    binary, table = is_binary(pair.database.type), pair.model.table
    if not binary and comparison.connection.dialect.name != "sqlite":
        return Stored.PLAIN
    found = look(comparison.connection, comparison.tables.deks, table.name, pair.model.name, table.schema)
    return Stored.PLAIN if found is Stored.EMPTY and not binary else found


def _decrypt(pair: Pair, existing: EncryptedType | None, tenancy: Tenancy) -> DecryptColumnOp:
    model, table = pair.model, pair.model.table
    log.info("Detected that %s.%s is no longer a sealed column", table.fullname, model.name)
    return DecryptColumnOp(
        table.name,
        model.name,
        model.type,
        existing,  # type: ignore[arg-type]  # rendered as None, which the operation refuses
        existing_nullable=bool(model.nullable),
        default=_default_of(model),
        tenancy=tenancy,
        schema=table.schema,
    )


def _decrypt_assumed(connection: Connection, pair: Pair) -> DecryptColumnOp:
    model, table = pair.model, pair.model.table
    how = deterministic(connection, table.name, model.name, table.schema)
    operation = _decrypt(pair, EncryptedType(model.type, deterministic=how), Tenancy.of(table))
    operation.comments.append(ASSUMED)
    return operation


def _was_sealed(context: AutogenContext, model: Column[Any], database: Column[Any]) -> bool:
    """Tell whether a column that the model holds plain has sealed values, though no entry says so."""
    table = model.table
    if not is_binary(database.type):
        return False
    comparison = _comparison(context)
    stored = look(comparison.connection, comparison.tables.deks, table.name, model.name, table.schema)
    return stored is Stored.SEALED


def _plain_type(context: AutogenContext, pair: Pair, type_: EncryptedType) -> TypeEngine[Any]:
    """Return the type by which plain values are read and, in ``downgrade``, made again.

    The reflected one, which has the collation and all, unless its values are of another Python type than
    those that are sealed: an Enum's, a UUID's, JSON's.
    """
    reflected, inner = pair.database.type, type_.type_
    if not isinstance(inner, TypeEngine) or python_type_of(reflected) == python_type_of(inner):
        return reflected
    asked: Column[Any] = Column(pair.database.name, inner.copy() if hasattr(inner, "copy") else inner)
    impl = context.migration_context.impl
    return reflected if impl.compare_type(pair.database, asked) else inner


def _default_of(column: Column[Any]) -> str | None:
    """Return the text of a column's default in the database."""
    argument = getattr(column.server_default, "arg", None)
    return None if argument is None else str(getattr(argument, "text", argument))


def _sealed_type(column: Column[Any]) -> EncryptedType:
    return cast(EncryptedType, column.type)
