"""Search indexes over several sealed columns of a table: ``__cmk_indexes__ = (Compound("last", "born"),)``.

Of a table without a model it is ``info={"cmk_indexes": (Compound("last", "born"),)}``. The hidden column is
named after the first of the columns, and is written whenever one of them is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, MetaData, Null, Table, event
from sqlalchemy.sql import operators

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.indexes import SearchIndex, Tokens
from sqlalchemy_cmk.columns.token_columns import (
    TokenColumn,
    TokenIndex,
    attach_index,
    fingerprint_of,
    token_indexes,
)
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.declarations import DeclaredIndex, declared_indexes
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

INDEXES_ATTRIBUTE = "__cmk_indexes__"
INDEXES_INFO_KEY = "cmk_indexes"

# What an index over several columns answers where it stands beside the same of its other columns.
COMBINED = (operators.eq, operators.in_op)

# The first byte of what an index over several columns is bound to. A column's context begins with 0 or 1.
_SEVERAL = b"\x02"

_found: WeakKeyDictionary[Table, tuple[CompoundIndex, ...]] = WeakKeyDictionary()


class CompoundSearchIndex(SearchIndex):
    """A search index over several columns as it is declared.

    Attributes:
        columns: the attributes of the model, or the keys of the table's columns.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def over(self, columns: tuple[str, ...]) -> CompoundSearchIndex:
        """Return the same over columns of other keys."""

    @abstractmethod
    def tokens_of(self, key: Secret, types: Sequence[EncryptedType]) -> Tokens:
        """Return what makes tokens of :class:`Combination` under a key of 32 bytes."""


class Combination:
    """The values of several columns of one row; it shows none of them.

    Attributes:
        values: the Python value of each column.
    """

    __slots__ = ("values",)

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = tuple(values)

    def __repr__(self) -> str:
        return "(values of several sealed columns)"

    @property
    def has_null(self) -> bool:
        """Whether one of them is NULL: then there is no token."""
        return any(one is None or isinstance(one, Null) for one in self.values)


class CompoundIndex(TokenIndex):
    """One index over several sealed columns.

    Attributes:
        columns: the sealed columns, in the order of the declaration.
        column_keys: their keys in the table.
    """

    index: CompoundSearchIndex

    def __init__(self, columns: Sequence[SealedColumn], index: CompoundSearchIndex) -> None:
        super().__init__(columns[0], index)
        self.columns = tuple(columns)
        self.column_keys = tuple(str(one.column.key) for one in columns)

    @cached_property
    def context(self) -> Context:
        """What the tokens are bound to: the contexts of all columns, each of which says where it ends."""
        return context_of_several([one.context for one in self.columns])

    @cached_property
    def info(self) -> bytes:
        """What the index's key is for."""
        return self.index.info(self.context)

    @cached_property
    def fingerprint(self) -> str:
        """A text that is the same for indexes that make equal tokens of equal values under one DEK."""
        return fingerprint_of(self.index, self.context, is_tenants=self.sealed.is_tenants)

    @property
    def named(self) -> str:
        """The index as it was declared, for messages."""
        return f"Compound({', '.join(map(repr, self.index.columns))})"

    def _made(self, key: Secret) -> Tokens:
        return self.index.tokens_of(key, [one.column.type for one in self.columns])  # type: ignore[misc]


def context_of_several(contexts: Sequence[Context]) -> Context:
    """Return what tokens of several columns are bound to, whose values are bound to these."""
    data = _SEVERAL + bytes((len(contexts),)) + b"".join(one.data for one in contexts)
    return Context(tuple(name for one in contexts for name in one.names), data)


def every_index(table: Table) -> tuple[TokenIndex, ...]:
    """Return the indexes of a table: of one column each, and over several."""
    return (*(one for found in token_indexes(table).values() for one in found), *compound_indexes(table))


def compound_indexes(table: Any) -> tuple[CompoundIndex, ...]:
    """Return the indexes of a table over several columns; none of what is no table.

    Raises:
        ConfigurationError: one is declared over columns that it cannot hold.
    """
    if not isinstance(table, Table):
        return ()
    found = _found.get(table)
    if found is None:
        declared = table.info.get(INDEXES_INFO_KEY, ())
        found = _found[table] = tuple(_compound(table, one) for one in checked(declared, table.fullname))
    return found


def compounds_with(column: SealedColumn) -> tuple[CompoundIndex, ...]:
    """Return the indexes over several columns that a sealed column is one of."""
    return tuple(one for one in compound_indexes(column.column.table) if column in one.columns)


def compounds_of(sealed: EncryptedType) -> tuple[CompoundIndex, ...]:
    """Return the indexes over several columns that the column of a sealed type is one of.

    In a dry run there are none: the plain values answer.
    """
    column = sealed.sealed_column
    return () if column is None or column.dry_run is not None else compounds_with(column)


def answered_together(compounds: Sequence[CompoundIndex]) -> str:
    """Return why a column's equality alone is refused that is one of several in an index."""
    one = compounds[0]
    return (
        f"{one.sealed.table.fullname}: {one.named} answers == of all of its columns together, joined by AND "
        "in one WHERE clause, each compared with a value, or one of them with several by in_. It does not "
        "answer for one column alone, or under NOT: index=[Exact()] on the column does"
    )


def checked(declared: object, where: str) -> tuple[CompoundSearchIndex, ...]:
    """Return what ``__cmk_indexes__`` or ``info`` declares.

    Raises:
        ConfigurationError: it is not a sequence of indexes over several columns.
    """
    if not isinstance(declared, list | tuple) or not all(
        isinstance(one, CompoundSearchIndex) for one in declared
    ):
        raise ConfigurationError(
            f"{where}: {INDEXES_ATTRIBUTE} is a tuple of indexes over several columns, such as "
            '(Compound("last", "born"),); an index of one column is declared there, EncryptedType(..., '
            "index=[Exact()])"
        )
    return tuple(declared)


def declare_compounds(table: Table, indexes: Iterable[CompoundSearchIndex]) -> None:
    """Add indexes over several columns to a table that is complete; those that it has are left.

    Raises:
        ConfigurationError: a column is not there or not sealed, or the columns' values have several owners.
    """
    known = checked(table.info.get(INDEXES_INFO_KEY, ()), table.fullname)
    added = [one for one in indexes if one not in known]
    if added:
        table.info[INDEXES_INFO_KEY] = (*known, *added)
        _found.pop(table, None)
        attach_compounds(table)


def attach_compounds(table: Table) -> None:
    """Give a table the hidden columns of its indexes over several columns."""
    for one in compound_indexes(table):
        attach_index(table, one)


def _compound(table: Table, index: CompoundSearchIndex) -> CompoundIndex:
    where = f"{table.fullname}: Compound({', '.join(map(repr, index.columns))})"
    columns = []
    for key in index.columns:
        column = table.c.get(key)
        if column is None:
            raise ConfigurationError(f"{where}: {key!r} is not a column of the table")
        sealed = getattr(column.type, "sealed_column", None)
        if not isinstance(sealed, SealedColumn):
            raise ConfigurationError(
                f"{where}: {key!r} is not sealed: name sealed columns only, and compare it beside them"
            )
        if sealed.scheme.is_mixed:
            raise ConfigurationError(
                f"{where}: rows of {key!r} that are not sealed yet have no tokens: seal them first, then add "
                "the index"
            )
        columns.append(sealed)
    if len({one.scheme.owner for one in columns}) > 1:
        raise ConfigurationError(
            f"{where}: some of the columns belong to the row's tenant and others to the platform: give all "
            "the same owner="
        )
    found = CompoundIndex(columns, index)
    beside = [one.key for of_column in token_indexes(table).values() for one in of_column]
    if found.key in beside:
        raise ConfigurationError(
            f"{where}: another index has the hidden column {found.key!r}: give it another name, as in "
            'Compound(..., name="other")'
        )
    return found


def _declared_in(metadata: MetaData) -> Iterator[DeclaredIndex]:
    for table in metadata.tables.values():
        for one in compound_indexes(table) if INDEXES_INFO_KEY in table.info else ():
            names = table.schema or "", table.name, str(one.sealed.column.name), one.index.suffix
            yield DeclaredIndex(names, one.where, one.sealed.is_tenants and not one.index.across_tenants)


declared_indexes.append(_declared_in)


@event.listens_for(Table, "after_parent_attach")
def _complete_table(table: Table, metadata: Any) -> None:
    """Add hidden columns behind all others: rows may be given by position."""
    if isinstance(metadata, MetaData) and INDEXES_INFO_KEY in table.info:
        attach_compounds(table)


@event.listens_for(Column, "after_parent_attach")
def _later_column(column: Column[Any], table: Any) -> None:
    """Look at a table's indexes again once a column of theirs may have been replaced."""
    if isinstance(table, Table) and not isinstance(column, TokenColumn):
        _found.pop(table, None)
