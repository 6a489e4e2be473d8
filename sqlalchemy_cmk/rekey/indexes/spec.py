"""One search index of one table, described without a model. See :class:`IndexSpec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.compounds import CompoundIndex, context_of_several
from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.columns.token_columns import TokenIndex, fingerprint_of, hidden_names
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.job import (
    Job,
    Move,
    RowColumns,
    TenantColumn,
    context_of,
    fullname,
    pinned,
    row_columns_of,
    tenant_of,
)
from sqlalchemy_cmk.rekey.token_type import TokensOf
from sqlalchemy_cmk.runtime.clock import this_second


@dataclass(frozen=True)
class IndexSpec:
    """A search index of a sealed column.

    Attributes:
        schema: the table's schema.
        table: the table's name.
        column: the sealed column's name.
        type: the sealed column's type, with its context pinned.
        index: the index.
        definition: the index as JSON; empty if it is not known how to write it down.
        others: the names and the types of the columns that an index over several has besides the first.
        tenant_column, tenant_type, row_columns: as for :class:`~sqlalchemy_cmk.rekey.Job`.

    Raises:
        ConfigurationError: the index cannot hold the values of the column.
    """

    schema: str | None
    table: str
    column: str
    type: EncryptedType
    index: SearchIndex
    definition: str = ""
    tenant_column: TenantColumn | None = None
    tenant_type: TypeEngine[Any] | None = None
    row_columns: RowColumns = ()
    others: tuple[tuple[str, EncryptedType], ...] = ()

    def __post_init__(self) -> None:
        self.index.refuse_type(self.type)
        if context_of(self.type) is None:
            raise ConfigurationError(f"{self.where}: its EncryptedType does not say what values are bound to")

    @classmethod
    def of(cls, one: TokenIndex, definition: str = "") -> IndexSpec:
        """Return the index of a model's column."""
        sealed, table = one.sealed, one.sealed.table
        type_: Any = sealed.column.type
        beside = one.columns[1:] if isinstance(one, CompoundIndex) else ()
        tenant_column, tenant_type = tenant_of(table)
        bound = any(each.scheme.row_bound for each in getattr(one, "columns", (sealed,)))
        rows = row_columns_of(table) if bound else ()
        return cls(
            table.schema,
            table.name,
            str(sealed.column.name),
            pinned(type_),
            one.index,
            definition,
            tenant_column,
            tenant_type,
            rows,
            tuple((str(each.column.name), pinned(each.column.type)) for each in beside),  # type: ignore[arg-type]
        )

    @property
    def fullname(self) -> str:
        """The table's name with its schema."""
        return fullname(self.table, self.schema)

    @property
    def where(self) -> str:
        """``table.hidden column``, for messages."""
        return f"{self.fullname}.{self.hidden(0)}"

    def hidden(self, slot: int) -> str:
        """Return the name of one of the two hidden columns."""
        return hidden_names(self.column, self.index)[slot]

    @property
    def fingerprint(self) -> str:
        """The same for indexes that make equal tokens of equal values under one DEK."""
        context = self._context()
        is_tenants = self.type.scheme.owner == "row" and self.tenant_column is not None
        return fingerprint_of(self.index, context, is_tenants=is_tenants)

    def _context(self) -> Context:
        contexts = []
        for type_ in (self.type, *(one for _, one in self.others)):
            context = context_of(type_)
            if context is None:
                raise ConfigurationError(
                    f"{self.where}: its EncryptedType does not say what values are bound to"
                )
            contexts.append(context)
        return context_of_several(contexts) if self.others else contexts[0]

    def stored(self, slot: int, state: IndexState, purpose: Purpose) -> StoredIndex:
        """Return a hidden column as the table of indexes records it from now on."""
        now = this_second()
        return StoredIndex(
            self.schema or "",
            self.table,
            self.hidden(slot),
            self.column,
            self.index.suffix,
            slot,
            state,
            purpose,
            self.fingerprint,
            self.definition or "{}",
            now,
            now,
        )

    def of_this(self, stored: Sequence[StoredIndex]) -> list[StoredIndex]:
        """Return the hidden columns of this index among those that are recorded."""
        of_table = (self.schema or "", self.table)
        named = (self.column, self.index.suffix)
        return [one for one in stored if one.of_table == of_table and (one.column, one.name) == named]

    def may_have_been(self, stored: StoredIndex) -> bool:
        """Return whether another table's record may be of this index, from before the table was renamed."""
        named = (stored.column, stored.name, stored.fingerprint)
        is_other = stored.of_table != (self.schema or "", self.table)
        return is_other and named == (self.column, self.index.suffix, self.fingerprint)

    def job(self, stored: StoredIndex) -> Job:
        """Return the job that makes the tokens of one of its hidden columns.

        Raises:
            ConfigurationError: a column may hold values that are not sealed.
        """
        build = stored.begun.isoformat()
        made = TokensOf(self.index, stored.purpose, build)
        columns = [(self.column, self.type), *self.others]
        for name, type_ in columns:
            if type_.scheme.is_mixed:
                raise ConfigurationError(
                    f"{self.fullname}.{name}: rows that are not sealed yet have no tokens: seal them first, "
                    "then make the index"
                )
        if self.tenant_column is None:
            columns = [(name, type_.with_options(owner="platform")) for name, type_ in columns]
        return Job(
            self.table,
            tuple(Move(name, stored.hidden, type_, made) for name, type_ in columns),
            self.schema,
            self.tenant_column,
            self.tenant_type,
            row_columns=self.row_columns,
        )
