"""The contract of :class:`Statistics`: what a database knows of rows that nobody has counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Table,
    func,
    select,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

# A table of fewer bytes is counted: databases keep no good statistics of small ones.
SMALL = 8 * 2**20


class Known(StrEnum):
    """How well a number of rows is known."""

    COUNTED = "counted"
    ESTIMATED = "estimated"
    """By the database's statistics."""
    AT_MOST = "at most"
    """All rows of the table: the statistics do not tell tenants apart."""
    UNKNOWN = "unknown"
    """The database keeps no statistics of the table."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of rows; ``None`` if it is unknown."""

    rows: int | None
    known: Known


UNKNOWN = Amount(None, Known.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Activity:
    """When a table was last used, by whichever tenant (UTC); ``None`` if the database does not say."""

    read_at: datetime | None = None
    written_at: datetime | None = None


class Statistics:
    """What a database's statistics say; of a database that is not known, nothing.

    Attributes:
        analyze: the statement that makes them again, for messages.
    """

    analyze: ClassVar[str] = "ANALYZE"

    def amounts(self, connection: Connection, table: Table, query: Select[Any]) -> list[Amount]:
        """Return how many rows a query returns, and then how many values other than NULL each column has.

        Args:
            connection: to the database.
            table: the table that it is about.
            query: returns some rows; its columns hold bytes.
        """
        if self.is_small(connection, table):
            return counted(connection, query)
        return [UNKNOWN] * (1 + len(query.selected_columns))

    def is_small(self, connection: Connection, table: Table) -> bool:
        """Return whether counting a table takes no time worth sparing."""
        return False

    def activity(self, connection: Connection, table: Table) -> Activity:
        """Return when a table was last read and written."""
        return Activity()


def counted(connection: Connection, query: Select[Any]) -> list[Amount]:
    """Return how many rows a query returns, and values each of its columns has: all of them are read."""
    rows = query.subquery()
    row = connection.execute(select(func.count(), *(func.count(one) for one in rows.columns)))
    return [Amount(int(number), Known.COUNTED) for number in row.one()]


def stored(columns: Sequence[Column[Any]]) -> list[ColumnElement[Any]]:
    """Return sealed columns as the bytes that they hold."""
    return [type_coerce(one, LargeBinary()).label(f"value_{i}") for i, one in enumerate(columns)]


class Explain(Executable, ClauseElement):
    """A statement that returns a query's plan, and does not run it.

    Args:
        how: what stands before the query, as in ``"EXPLAIN"``.
        query: the query.
    """

    inherit_cache = False

    def __init__(self, how: str, query: Select[Any]) -> None:
        self.how = how
        self.query = query


@compiles(Explain)
def _compiled(explain: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"{explain.how} {compiler.process(explain.query, **options)}"
