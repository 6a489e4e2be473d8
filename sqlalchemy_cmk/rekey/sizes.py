"""How long the values of a row are: the database is asked before it sends them. See :class:`Sizes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BINARY,
    VARBINARY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    String,
    Time,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    or_,
)

from sqlalchemy_cmk.databases import Database

if TYPE_CHECKING:
    from sqlalchemy_cmk.rekey.layout import Layout

# Bytes of a value that are not worth asking for: a chunk of 10,000 rows stays within the 4 MB of a batch.
SHORT = 400
_BYTES_OF_A_CHARACTER = 4
_BYTES = (BINARY, LargeBinary, VARBINARY)
_TEXT_OR_BYTES = (String, *_BYTES)
_SHORT_TYPES = (Boolean, Date, DateTime, Float, Integer, Interval, Time, Uuid)


class Sizes:
    """Leaves values out of a query's rows that are too long to be read with so many others.

    Args:
        layout: the table.

    Attributes:
        columns: how many values of a row may be long.
        limit: the parameter of a query with the bytes of the longest value that it sends.
    """

    def __init__(self, layout: Layout) -> None:
        columns = (layout.column(move.source) for move in layout.job.moves)
        self._lengths = lengths(columns, layout.database, SHORT)
        self.columns = len(self._lengths)
        self.limit: Any = bindparam("longest", type_=BigInteger())

    def unless_long(self, name: str, read: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what is read of a column, or NULL where its value is longer than :attr:`limit`."""
        length = self._lengths.get(name)
        return read if length is None else case((length <= self.limit, read))

    @property
    def of_left_out(self) -> list[ColumnElement[Any]]:
        """The size of a row of which a value was left out, in bytes; NULL for another.

        There is no such column where all values are short.
        """
        if not self._lengths:
            return []
        is_long = or_(*(length > self.limit for length in self._lengths.values()))
        return [case((is_long, self.total))]

    @property
    def total(self) -> ColumnElement[Any]:
        """The bytes of a row's long values together."""
        return total_of(self._lengths)


def lengths(
    columns: Iterable[Column[Any]], database: Database, longest: int
) -> dict[str, ColumnElement[Any]]:
    """Return the length of each column that may hold a value of more than so many bytes."""
    return {one.name: database.length(one) for one in columns if not _is_short(one, database, longest)}


def total_of(lengths: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    """Return the bytes of some columns together, by the lengths of each."""
    return reduce(add, (func.coalesce(cast(one, BigInteger), 0) for one in lengths.values()))


def _is_short(column: Column[Any], database: Database, longest: int) -> bool:
    type_ = column.type
    if database.stores_bytes_in_any_column:
        return False
    if isinstance(type_, _SHORT_TYPES):
        return True
    length: int | None = getattr(type_, "length", None)
    each = 1 if isinstance(type_, _BYTES) else _BYTES_OF_A_CHARACTER
    return isinstance(type_, _TEXT_OR_BYTES) and length is not None and length * each <= longest
