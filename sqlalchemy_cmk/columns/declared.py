"""What tables declare around sealed columns that sealed values cannot keep. See :func:`wrong_declarations`.

``Keyring.protect`` refuses it, and the first statement on a table that is declared later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    event,
)
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.schema import ColumnCollectionConstraint, SchemaItem

from sqlalchemy_cmk.columns.column import TENANT_INFO_KEY, SealedColumn
from sqlalchemy_cmk.columns.compounds import INDEXES_INFO_KEY
from sqlalchemy_cmk.columns.computing import expressions_of, named_in
from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.columns.tenants import ROW_INFO_KEY, refuse_shared_type, sealed_columns, tenant_source
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.declarations import check_again

# Column constraints that are no unique constraint; PostgreSQL's EXCLUDE is one as far as sealing goes.
_OTHERS = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint)
_INFO_KEYS = (TENANT_INFO_KEY, ROW_INFO_KEY, INDEXES_INFO_KEY)

Sealed = Mapping[str, SealedColumn]


def wrong_declarations(metadata: MetaData) -> dict[Table, list[str]]:
    """Return what a metadata's tables declare wrongly, and what to do about it.

    - a key, a unique constraint or an index over a randomized column;
    - an index over an expression of a sealed column, a condition on one, a CHECK or a computed column that
      reads one: the database would compute with its sealed bytes;
    - a foreign key whose two columns are not sealed alike;
    - a row-bound column of rows without an identity;
    - sealed columns of a table that does not say whose rows it holds, while others say it.
    """
    tables = list(metadata.tables.values())
    beside_tenants = any(one.info.get(TENANT_INFO_KEY) is not None for one in tables)
    found: dict[Table, list[str]] = {}
    for table in tables:
        messages = list(_of_table(table, beside_tenants))
        if messages:
            found.setdefault(table, []).extend(messages)
        for key in table.foreign_keys:
            message = _foreign_key(table, key)
            if message:
                # Both tables: a statement on a table without sealed columns is not looked at.
                for one in dict.fromkeys((table, _target(key).table)):  # type: ignore[union-attr]
                    found.setdefault(one, []).append(message)
    return found


def _of_table(table: Table, beside_tenants: bool) -> Iterator[str]:
    yield from _info_names(table)
    try:
        for one in table.columns:
            refuse_shared_type(one)
        sealed = sealed_columns(table)
        tenant_source(table)
    except ConfigurationError as error:
        yield str(error)
        return
    if not sealed:
        return
    if beside_tenants and TENANT_INFO_KEY not in table.info:
        yield from _unsaid_owner(table, sealed)
    yield from _constraints(table, sealed)
    yield from _indexes(table, sealed)
    for where, advice, expression in expressions_of(table):
        for column in named_in(expression, sealed.values()):
            yield f"{column.where}: {where} would compute with its sealed bytes: {advice}"
    yield from _row_bound(table, sealed)


def _info_names(table: Table) -> Iterator[str]:
    for name in table.info:
        if isinstance(name, str) and name.lower().lstrip("_").startswith("cmk_") and name not in _INFO_KEYS:
            yield f"{table.fullname}: info has {name!r}, which means nothing here: did you mean " + repr(
                get_close_matches(name, _INFO_KEYS, 1, 0)[0]
            )


def _unsaid_owner(table: Table, sealed: Sealed) -> Iterator[str]:
    names = [column.column.name for column in sealed.values() if column.scheme.owner == "row"]
    if names:
        yield (
            f"{table.fullname}: {', '.join(names)} would be sealed under the platform's key, while other "
            "tables of this metadata have a tenant column. Say whose rows it holds: __cmk_tenant__ = "
            '"its tenant column" on the model, or __cmk_tenant__ = None for the platform\'s own; on a Table '
            'without a model, info={"cmk_tenant": ...}'
        )


def _constraints(table: Table, sealed: Sealed) -> Iterator[str]:
    for column in _randomized(table.primary_key, sealed):
        yield (
            f"{column.where}: a primary key cannot be sealed with a random nonce, which makes equal values "
            "unlike: declare it EncryptedType(..., deterministic=True)"
        )
    for constraint in table.constraints:
        if isinstance(constraint, ColumnCollectionConstraint) and not isinstance(constraint, _OTHERS):
            for column in _randomized(constraint, sealed):
                yield (
                    f"{column.where}: a unique constraint over a column that is sealed with a random nonce "
                    "stops no duplicate: declare it EncryptedType(..., deterministic=True), or drop the "
                    "constraint"
                )


def _indexes(table: Table, sealed: Sealed) -> Iterator[str]:
    for index in table.indexes:
        for expression in index.expressions:
            if isinstance(expression, Column):
                for one in _randomized([expression], sealed):
                    what = "stops no duplicate" if index.unique else "finds no value"
                    yield (
                        f"{one.where}: the index {index.name} over a column that is sealed with a random "
                        f"nonce {what}: declare it EncryptedType(..., deterministic=True), or drop the index"
                    )


def _randomized(columns: Any, sealed: Sealed) -> Iterator[SealedColumn]:
    for column in columns:
        found = sealed.get(str(getattr(column, "key", "")))
        if found is not None and not found.scheme.deterministic:
            yield found


def _row_bound(table: Table, sealed: Sealed) -> Iterator[str]:
    if not any(column.scheme.row_bound for column in sealed.values()):
        return
    try:
        identity = identity_of(table)
    except ConfigurationError as error:
        yield str(error)
        return
    try:
        identity.encoder()
    except ConfigurationError as error:
        yield f"{table.fullname}: the row identity ({', '.join(identity.keys)}) cannot be bound: {error}"


def _target(key: ForeignKey) -> Column[Any] | None:
    """Return what a foreign key refers to; ``None`` while that is not declared."""
    try:
        return key.column
    except (InvalidRequestError, ArgumentError):
        return None


def _foreign_key(table: Table, key: ForeignKey) -> str | None:
    target = _target(key)
    if target is None:
        return None
    try:
        ours = sealed_columns(table).get(str(key.parent.key))
        theirs = sealed_columns(target.table).get(str(target.key))
    except ConfigurationError:  # the table's own message says it
        return None
    if ours is None and theirs is None:
        return None
    between = f"the foreign key {table.fullname}.{key.parent.name} to {target.table.fullname}.{target.name}"
    if ours is None or theirs is None:
        return (
            f"{between} compares a sealed column with a plain one: seal both "
            'EncryptedType(..., deterministic=True, context="a name for both"), or neither'
        )
    if not (ours.scheme.deterministic and theirs.scheme.deterministic) or ours.context != theirs.context:
        return (
            f"{between} compares columns that are not sealed alike: declare both "
            'EncryptedType(..., deterministic=True, context="a name for both")'
        )
    if ours.is_tenants is not theirs.is_tenants:
        return (
            f"{between} compares values under a tenant's key with values under the platform's: give both the "
            'same owner, by __cmk_tenant__ and owner="platform"'
        )
    return None


@event.listens_for(SchemaItem, "after_parent_attach")
def _check_again(item: Any, parent: Any) -> None:
    if isinstance(parent, MetaData):
        check_again(parent)
    elif isinstance(parent, Table):
        check_again(parent.metadata)
