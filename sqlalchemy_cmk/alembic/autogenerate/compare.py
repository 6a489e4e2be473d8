"""Compares the models' sealed columns with the table of sealed columns and with stored values.

Alembic compares a model's type with the column's type in the database, which for a sealed column says only
that it holds bytes, and would write an ``alter_column`` that destroys data. So the types of these columns are
compared here, once Alembic has compared everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp, UpgradeOps
from alembic.util import PriorityDispatchResult
from sqlalchemy import Column, Connection, Table
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.autogenerate import render_ops as _renderers  # noqa: F401
from sqlalchemy_cmk.alembic.autogenerate.changes import changed, wanted
from sqlalchemy_cmk.alembic.autogenerate.indexes import compare_indexes
from sqlalchemy_cmk.alembic.autogenerate.joining import joined
from sqlalchemy_cmk.alembic.autogenerate.old_types import old_type
from sqlalchemy_cmk.alembic.autogenerate.renames import New, Renames, created_columns
from sqlalchemy_cmk.alembic.autogenerate.render_types import render_item
from sqlalchemy_cmk.alembic.autogenerate.separate import separate_scripts
from sqlalchemy_cmk.alembic.autogenerate.tidy import (
    drop_info,
    drop_last,
    join_key_tables,
    keep_shadows,
    make_repeatable,
)
from sqlalchemy_cmk.alembic.configuration import every_key_table, key_tables, prefix_of, registry_table
from sqlalchemy_cmk.alembic.names import ColumnName
from sqlalchemy_cmk.alembic.ops.base import TableOp
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp, DecryptColumnOp, EncryptColumnOp, Options
from sqlalchemy_cmk.alembic.ops.reencrypt import ChangeSchemeOp
from sqlalchemy_cmk.alembic.ops.register import RegisterSealedColumnOp
from sqlalchemy_cmk.alembic.registry.read import Entry, Registry
from sqlalchemy_cmk.alembic.rows import TableRows
from sqlalchemy_cmk.alembic.sampling import Content, is_deterministic, owners, sample
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.comparing import is_binary, python_type_of
from sqlalchemy_cmk.keys.storage.tables import KeyTables

log = logging.getLogger(__name__)

ASSUMED = "not in the table of sealed columns: its old type is assumed from the model's type"


@dataclass(slots=True)
class Pair:
    """A column as the model has it and as the database has it."""

    model: Column[Any]
    database: Column[Any]

    @property
    def name(self) -> ColumnName:
        """The column's name."""
        return ColumnName.of(self.model)


@dataclass(slots=True)
class Comparison:
    """What one run of autogenerate has seen."""

    connection: Connection
    tables: KeyTables
    entries: dict[ColumnName, Entry]
    pairs: list[Pair] = field(default_factory=list)


_comparisons: WeakKeyDictionary[AutogenContext, Comparison] = WeakKeyDictionary()


def begin(autogen_context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Let the plugin render types and separate scripts, after an application's own functions for that."""
    opts = autogen_context.migration_context.opts
    theirs = opts.get("render_item")
    if not getattr(theirs, "renders_sealed_columns", False):

        def render(kind: str, item: Any, context: AutogenContext) -> Any:
            rendered = theirs(kind, item, context) if theirs else False
            return render_item(kind, item, context) if rendered is False else rendered

        render.renders_sealed_columns = True  # type: ignore[attr-defined]
        opts["render_item"] = render
    separate_scripts(opts)
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
    if isinstance(model.type, TokenType):
        return PriorityDispatchResult.STOP
    comparison = _comparison(autogen_context)
    known = ColumnName.of(model) in comparison.entries
    if not (isinstance(model.type, EncryptedType) or known or _was_sealed(autogen_context, model, database)):
        return PriorityDispatchResult.CONTINUE
    alter_column_op.existing_type = database.type
    comparison.pairs.append(Pair(model, database))
    return PriorityDispatchResult.STOP


def finish(autogen_context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Add what sealed columns need to what Alembic has found."""
    comparison = _comparison(autogen_context)
    keep_shadows(upgrade_ops)
    drop_info(upgrade_ops)
    drops, creates = compare_indexes(autogen_context, comparison.connection, upgrade_ops)
    renames = _renames(autogen_context, comparison, upgrade_ops)
    found = [
        one for pair in comparison.pairs for one in _compared(autogen_context, comparison, pair, renames)
    ]
    if creates or any(isinstance(one, ConversionOp | ChangeSchemeOp) for one in found):
        in_batches = bool(autogen_context.migration_context.opts.get("render_as_batch"))
        make_repeatable(upgrade_ops, autogen_context.dialect, in_batches=in_batches)
    # Indexes go before their columns are opened, and come once they are sealed.
    upgrade_ops.ops.extend([*drops, *renames.operations(), *joined(found), *creates])
    drop_last(upgrade_ops, found)
    prefix = prefix_of(autogen_context.migration_context)
    names = {one.name for one in every_key_table(autogen_context.migration_context, prefix)}
    join_key_tables(upgrade_ops, names, prefix)
    return PriorityDispatchResult.CONTINUE


def _renames(context: AutogenContext, comparison: Comparison, upgrade_ops: UpgradeOps) -> Renames:
    models = {(one.schema, one.name): one for one in context.table_key_to_table.values()}
    created = [_new(column) for column in _of_models(models, upgrade_ops)]
    known = comparison.entries
    appeared = [
        _new(pair.model)
        for pair in comparison.pairs
        if isinstance(pair.model.type, EncryptedType)
        and pair.name not in known
        and _content(comparison, pair) is not Content.PLAIN
    ]
    seen = {pair.name for pair in comparison.pairs}
    inspector = context.inspector

    def exists(name: ColumnName) -> bool:
        if name in seen:
            return True
        if not inspector.has_table(name.table, schema=name.schema):
            return False
        return any(one["name"] == name.column for one in inspector.get_columns(name.table, name.schema))

    return Renames(known, upgrade_ops, created, appeared, exists)


def _of_models(models: dict[tuple[str | None, str], Table], upgrade_ops: UpgradeOps) -> Iterator[Column[Any]]:
    """Yield the sealed columns that Alembic is going to create, as the models have them."""
    for name in created_columns(upgrade_ops):
        columns = models[name.of_table].columns if name.of_table in models else ()
        for column in columns:
            if column.name == name.column and isinstance(column.type, EncryptedType):
                yield column


def _new(column: Column[Any]) -> New:
    return New(column, wanted(column))


def _comparison(autogen_context: AutogenContext) -> Comparison:
    found = _comparisons.get(autogen_context)
    if found is None:
        connection = cast(Connection, autogen_context.connection)
        tables = key_tables(autogen_context.migration_context)
        registry = registry_table(autogen_context.migration_context)
        entries = Registry(registry, connection).entries()
        found = _comparisons[autogen_context] = Comparison(connection, tables, entries)
    return found


def _compared(context: AutogenContext, comparison: Comparison, pair: Pair, renames: Renames) -> list[TableOp]:
    entry = comparison.entries.get(pair.name)
    sealed = isinstance(pair.model.type, EncryptedType)
    if entry is not None and sealed:
        return changed(entry, pair.model)
    if entry is not None:
        return [_decrypt(pair, entry.encrypted_type(), entry.rows)]
    if not sealed:
        return [_decrypt_assumed(comparison.connection, pair)]
    if renames.found(pair.name):
        return []
    return _newly_sealed(context, comparison, pair)


def _newly_sealed(context: AutogenContext, comparison: Comparison, pair: Pair) -> list[TableOp]:
    model, name, type_ = pair.model, pair.name, _sealed_type(pair.model)
    rows = TableRows.of(model.table, type_)
    content = _content(comparison, pair)
    if content is Content.EMPTY:
        # Made by create_all, and nothing is bound to anything yet: registered once it holds values.
        return []
    if content is not Content.PLAIN:
        return _unregistered(comparison, model, rows)
    log.info("Detected that %s becomes a sealed column", name)
    options = Options(bool(model.nullable), _default_of(pair.database), rows, mixed=type_.scheme.is_mixed)
    plain = _plain_type(context, pair, type_)
    operation = EncryptColumnOp(name.table, name.column, type_, plain, options, name.schema)
    operation.existing_type = old_type(context, comparison.connection, operation) or plain
    return [operation]


def _unregistered(comparison: Comparison, model: Column[Any], rows: TableRows) -> list[TableOp]:
    """Return the operation for sealed values that no migration has noted; their owners may be others."""
    name, type_, asked = ColumnName.of(model), _sealed_type(model), wanted(model)
    if not owners(comparison.connection, comparison.tables.deks, name) - {asked.owner}:
        log.info("Detected the sealed column %s, not registered yet", name)
        return [RegisterSealedColumnOp(name.table, name.column, type_, rows=rows, schema=name.schema)]
    if asked.owner == "row":
        return changed(Entry.of(name, type_.with_options(owner="platform")), model)
    if rows.tenant_column is not None:
        return changed(Entry.of(name, type_.with_options(owner="row"), rows), model)
    log.warning(
        "%s holds values of tenants, and the model names no tenant column: give it one again, and take it "
        "away when a migration has noted how the column is sealed",
        name,
    )
    return []


def _content(comparison: Comparison, pair: Pair) -> Content:
    """Return what an existing column holds; some databases keep sealed values in a column of any type."""
    binary = is_binary(pair.database.type)
    if not binary and not database_of(comparison.connection.dialect).stores_bytes_in_any_column:
        return Content.PLAIN
    found = _sampled(comparison, pair.name)
    return Content.PLAIN if found is Content.EMPTY and not binary else found


def _sampled(comparison: Comparison, name: ColumnName) -> Content:
    return sample(comparison.connection, comparison.tables.deks, name.table, name.column, name.schema)


def _decrypt(pair: Pair, existing: EncryptedType | None, rows: TableRows) -> DecryptColumnOp:
    model, name = pair.model, pair.name
    log.info("Detected that %s is no longer a sealed column", name)
    options = Options(bool(model.nullable), _default_of(model), rows)
    # A type of None is rendered as such, which the operation refuses.
    return DecryptColumnOp(name.table, name.column, model.type, existing, options, name.schema)


def _decrypt_assumed(connection: Connection, pair: Pair) -> DecryptColumnOp:
    model, name = pair.model, pair.name
    deterministic = is_deterministic(connection, name.table, name.column, name.schema)
    assumed = EncryptedType(model.type, deterministic=deterministic)
    operation = _decrypt(pair, assumed, TableRows.of(model.table))
    operation.comments.append(ASSUMED)
    return operation


def _was_sealed(context: AutogenContext, model: Column[Any], database: Column[Any]) -> bool:
    """Return whether a column that the model holds plain has sealed values, though no entry says so."""
    if not is_binary(database.type):
        return False
    return _sampled(_comparison(context), ColumnName.of(model)) is Content.SEALED


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
