"""The contract: :class:`GramStorage`, and what is named after the hidden column: :class:`GramNames`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Column, Connection, Dialect, MetaData, Table
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases.quoting import Quoting, fitting

GRAM_BYTES = 8
EVENTS = ("insert", "update", "delete")

# Of a question's tokens, those that a side table is asked for: the database begins with the rarest of them.
ASKED = 4


@dataclass(frozen=True, slots=True)
class GramNames:
    """One hidden column with sets of tokens, and what the database searches it by.

    Attributes:
        table: its table.
        column: its name.
        schema: the table's schema in the database; ``None`` for the default one.
    """

    table: Table
    column: str
    schema: str | None

    @property
    def storage(self) -> str:
        """The name of the table that is searched."""
        return storage_name(self.table.name, self.column)

    @property
    def keys(self) -> list[str]:
        """The names of the primary key's columns."""
        return [one.name for one in self.table.primary_key]

    def trigger(self, event: str) -> str:
        """Return the name of the trigger for an event: ``insert``, ``update`` or ``delete``."""
        return fitting(f"{self.table.name}_{self.column}", f"_grams_{event}")

    def made(self, *columns: str) -> Table:
        """Return the table that is searched, for statements: with these columns, and of any type."""
        # Not the table's schema in the database: SQLAlchemy translates both alike.
        found = (Column(name, NullType()) for name in columns)
        return Table(self.storage, MetaData(), *found, schema=self.table.schema)


class GramStorage(ABC):
    """How one database stores and searches sets of tokens.

    Attributes:
        index_method: what stands before the column in the statement that makes its index; ``None`` if it
            has none.
    """

    index_method: ClassVar[str | None] = None

    @property
    @abstractmethod
    def type(self) -> TypeEngine[Any]:
        """The type of the hidden column."""

    @abstractmethod
    def bind(self, packed: bytes) -> Any:
        """Return a set, packed as big-endian 64-bit integers, as the driver takes it."""

    @abstractmethod
    def matching(
        self, names: GramNames, hidden: ColumnElement[Any], asked: ColumnElement[Any], dialect: Dialect
    ) -> ColumnElement[bool]:
        """Return the condition that a row has all tokens of a set, or of some of them.

        Args:
            names: the hidden column.
            hidden: the hidden column, of the FROM that is asked about.
            asked: the set, which may be NULL and is not empty.
            dialect: the database's.
        """

    def create(self, names: GramNames, dialect: Dialect, *, filled: bool = True) -> list[str]:
        """Return the statements that make what the column is searched by.

        Args:
            names: the hidden column.
            dialect: the database's.
            filled: whether for the rows too that have tokens already.

        Raises:
            ConfigurationError: this table cannot be searched so.
        """
        return []

    def drop(self, names: GramNames, dialect: Dialect) -> list[str]:
        """Return the statements that drop it, as far as it is there."""
        return []

    def is_complete(self, names: GramNames, connection: Connection) -> bool:
        """Return whether it is there, as far as a table can lose it unnoticed."""
        return True


def storage_name(table: str, column: str) -> str:
    """Return the name of the table by which a table's hidden column is searched."""
    return fitting(f"{table}_{column}", "_grams")


def tokens_of(packed: bytes) -> list[int]:
    """Return the tokens of a packed set."""
    at = range(0, len(packed), GRAM_BYTES)
    return [int.from_bytes(packed[i : i + GRAM_BYTES], signed=True) for i in at]


def keys_of(names: GramNames, hidden: Any) -> Sequence[Any]:
    """Return the primary key's columns in the FROM that a hidden column is of."""
    return [hidden.table.c[str(one.key)] for one in names.table.primary_key]


def quoted(quoting: Quoting, names: Sequence[str], of: str = "") -> list[str]:
    """Return quoted names, each behind the name of what it is of."""
    return [f"{of}{quoting.name(one)}" for one in names]
