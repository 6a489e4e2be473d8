"""Hidden columns with the tokens of search indexes: beside their sealed column, in the same table.

``create_all`` makes them, hooks fill them; they are not mapped, and ``select(table)`` leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cached_property
from hashlib import sha256
from os import urandom
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Index,
    LargeBinary,
    MetaData,
    Null,
    Table,
    column,
    event,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.hot_tokens import HotTokens
from sqlalchemy_cmk.columns.indexes import SearchIndex, Tokens
from sqlalchemy_cmk.columns.presealed import Unsealed, is_presealed, strip
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.grams.postgresql import array_index
from sqlalchemy_cmk.databases.quoting import fitting
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.declarations import DeclaredIndex, declared_indexes
from sqlalchemy_cmk.keys.model import INDEX_KEY_BYTES, OpenedDek
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# What follows the name of an index's first hidden column in that of its second.
SECOND_SUFFIX = "__2"

# The metadatas whose tables have indexes.
indexed_metadatas: WeakSet[MetaData] = WeakSet()

_complete: WeakSet[Table] = WeakSet()
_attaching = Lock()
_found: WeakKeyDictionary[Table, dict[str, tuple[TokenIndex, ...]]] = WeakKeyDictionary()


class TokenIndex:
    """One index of one sealed column.

    Attributes:
        sealed: the sealed column.
        index: the index as it is declared.
        key: the key and the name of the hidden column.
        keys: those of its two hidden columns. The second is there while tokens are made under other DEKs, and
            may be the one that stays; see ``index_slots.py``.
    """

    def __init__(self, sealed: SealedColumn, index: SearchIndex) -> None:
        self.sealed = sealed
        self.index = index
        self.keys = hidden_names(sealed.column.name, index)
        self.key = self.keys[0]
        self._hot = HotTokens(lambda dek: self._made(dek.index_key(self.info)))

    @cached_property
    def info(self) -> bytes:
        """What the index's key is for."""
        return self.index.info(self.sealed.context)

    @cached_property
    def fingerprint(self) -> str:
        """A text that is the same for indexes that make equal tokens of equal values under one DEK."""
        return fingerprint_of(self.index, self.sealed.context, is_tenants=self.sealed.is_tenants)

    @property
    def where(self) -> str:
        """``table.column`` of the hidden column, for messages."""
        return f"{self.sealed.table.fullname}.{self.key}"

    def owner(self, tenant: str) -> str:
        """Return under whose DEK the tokens of a tenant's row are."""
        return PLATFORM_TENANT if self.index.across_tenants else tenant

    def under(self, dek: OpenedDek | None) -> Tokens:
        """Return what makes tokens under a DEK of purpose ``search``.

        Without one, as for a question about an owner who has none, the key is a random one, whose tokens are
        nobody's.
        """
        return self._made(Secret(urandom(INDEX_KEY_BYTES))) if dek is None else self._hot.under(dek)

    def _made(self, key: Secret) -> Tokens:
        return self.index.tokens(key, self.sealed.column.type)  # type: ignore[arg-type]


def hidden_names(column: str, index: SearchIndex) -> tuple[str, str]:
    """Return the names of the two hidden columns of an index of a sealed column."""
    first = f"{column}_{index.suffix}"
    return first, fitting(first, SECOND_SUFFIX)


def fingerprint_of(index: SearchIndex, context: Context, *, is_tenants: bool) -> str:
    """Return a text that is the same for indexes that make equal tokens of equal values under one DEK.

    Args:
        index: the index.
        context: what the column's values are bound to.
        is_tenants: whether they belong to tenants, not to the platform.
    """
    whose = b"all" if index.across_tenants else b"row" if is_tenants else b"platform"
    return sha256(whose + index.info(context)).hexdigest()


class TokenType(TypeDecorator[Any]):
    """The type of a hidden column, and of what is compared with it. A driver gets tokens only, never a value.

    Args:
        index: the index as it is declared.
        part: which token of a question a parameter stands for; empty in the column itself.
        token_index: the index of its column, once that is known.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(
        self, index: SearchIndex, part: Hashable = "", token_index: TokenIndex | None = None
    ) -> None:
        super().__init__()
        self.index = index
        self.part = part
        self.token_index = token_index

    def __repr__(self) -> str:
        return f"TokenType({self.index!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was declared: a copy belongs to no column."""
        return TokenType, (self.index, self.part)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return this type, by which a value becomes a token."""
        return self

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's type of tokens."""
        database = database_of(dialect)
        if self.index.stores_grams:
            return dialect.type_descriptor(database.grams_type())
        return dialect.type_descriptor(database.sealed_type(self.index.max_bytes()))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return the function that lets tokens pass, which hooks have made, and hands values on to them."""
        grams = database_of(dialect).bind_grams if self.index.stores_grams else None

        def process(value: Any) -> Any:
            if is_presealed(value):
                return strip(value) if grams is None else grams(strip(value))
            if value is None or isinstance(value, Null):
                return None
            return self.hide(value)

        return process

    @property
    def use(self) -> Any:
        """What a parameter of the type stands for; those that stand for the same may share a name."""
        return self.part, self.token_index and self.token_index.info

    def hide(self, value: Any) -> Unsealed:
        """Return a value of a question so that no driver takes it, and no message shows it."""
        return value if isinstance(value, Unsealed) else Untokened(self, value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return none: tokens are read as they are stored."""
        return None

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        """Refuse: a literal would put a plaintext into the SQL text."""
        raise ConfigurationError("a token cannot be rendered as a literal: execute with bound parameters")


class Untokened(Unsealed):
    """A value of a question, whose token is made once its statement is known; no driver takes it.

    Attributes:
        type: of the parameter: which index, and which token of the question.
    """

    __slots__ = ("type",)

    def __init__(self, type_: TokenType, value: Any) -> None:
        super().__init__(None if type_.token_index is None else type_.token_index.sealed, value)
        self.type = type_


class TokenColumn(Column[Any]):
    """A hidden column: neither mapped nor in ``select(table)``."""

    inherit_cache = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        private.leave_out(self)


def token_indexes(table: Table) -> dict[str, tuple[TokenIndex, ...]]:
    """Return the indexes of a table's sealed columns, by the keys of the sealed columns."""
    found = _found.get(table)
    if found is None:
        found = _found[table] = {}
        for column in table.columns:
            sealed = getattr(column.type, "sealed_column", None)
            if isinstance(sealed, SealedColumn) and sealed.column is column and sealed.scheme.index:
                found[str(column.key)] = tuple(TokenIndex(sealed, one) for one in sealed.scheme.index)
    return found


def declared_in(metadata: MetaData) -> Iterator[DeclaredIndex]:
    """Return the indexes that the tables of a metadata declare."""
    for table in metadata.tables.values() if metadata in indexed_metadatas else ():
        for indexes in token_indexes(table).values():
            for one in indexes:
                names = table.schema or "", table.name, str(one.sealed.column.name), one.index.suffix
                is_tenants = one.sealed.is_tenants and not one.index.across_tenants
                yield DeclaredIndex(names, one.where, is_tenants)


declared_indexes.append(declared_in)


def attach_tokens(table: Table) -> None:
    """Give a table the hidden columns of its indexes, with what the database searches them by."""
    _found.pop(table, None)
    for indexes in token_indexes(table).values():
        for one in indexes:
            one.index.refuse_type(one.sealed.column.type)  # type: ignore[arg-type]
            attach_index(table, one)


def attach_index(table: Table, one: TokenIndex) -> None:
    """Give a table the hidden column of one index, with what the database searches it by.

    Raises:
        ConfigurationError: the table has another column of its name.
    """
    indexed_metadatas.add(table.metadata)
    type_ = TokenType(one.index, token_index=one)
    there = table.c.get(one.key)
    if there is None:
        table.append_column(TokenColumn(one.key, type_, nullable=True))
        _add_index(table, one)
    elif isinstance(there.type, TokenType) or _is_reflected(there):
        there.type = type_
        private.leave_out(there)
    else:
        raise ConfigurationError(
            f"{one.where} holds the tokens of an index, and is declared as something else: rename it, or "
            f'give the index another name, as in {type(one.index).__name__}(name="other")'
        )
    second = table.c.get(one.keys[1])
    if second is not None:  # of a table that was reflected
        second.type = type_
        private.leave_out(second)


def attach_second(one: TokenIndex) -> None:
    """Give a table an index's second hidden column, once the database has it; ``create_all`` makes none."""
    table = one.sealed.table
    with _attaching:
        if one.keys[1] not in table.c:
            type_ = TokenType(one.index, token_index=one)
            table.append_column(TokenColumn(one.keys[1], type_, nullable=True, system=True))


def second_of(hidden: ColumnElement[Any], one: TokenIndex) -> ColumnElement[Any]:
    """Return the second hidden column of the FROM that has the first, for SQL."""
    second: ColumnElement[Any] = column(one.keys[1], TokenType(one.index, token_index=one))
    second.table = hidden.table  # type: ignore[attr-defined]
    return second


def _is_reflected(column: Column[Any]) -> bool:
    """Return whether a column has a type as the database names it, and not one that was declared."""
    return isinstance(column.type, LargeBinary) and type(column.type) is not LargeBinary


def _add_index(table: Table, one: TokenIndex) -> None:
    if one.index.stores_grams:
        array_index(table.c[one.key])
    else:
        Index(None, table.c[one.key], unique=one.index.unique)


@event.listens_for(Table, "after_parent_attach")
def _complete_table(table: Table, metadata: Any) -> None:
    """Add hidden columns behind all others: rows may be given by position."""
    if isinstance(metadata, MetaData):
        _complete.add(table)
        attach_tokens(table)


@event.listens_for(Column, "after_parent_attach")
def _later_column(column: Column[Any], table: Any) -> None:
    """Add the hidden columns of a sealed column that a complete table gets."""
    if isinstance(table, Table) and not isinstance(column, TokenColumn):
        _found.pop(table, None)
        sealed = getattr(column.type, "sealed_column", None)
        if table in _complete and isinstance(sealed, SealedColumn) and sealed.scheme.index:
            attach_tokens(table)
