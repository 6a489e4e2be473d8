"""What SQLAlchemy calls for each value that no fetch has opened. It holds no key."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.reading import ColumnReader
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.protection import only_keys

COLUMN_ATTRIBUTE = "cmk_column"

# The keys of the result whose values are processed now.
_at_hand: ContextVar[EngineKeys | None] = ContextVar("sqlalchemy_cmk_keys_at_hand", default=None)


class Opened:
    """A value that a hook has opened with its row at hand, on its way through a result processor."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "(an opened value)"


def opening_processor(
    column: SealedColumn, plain_processor: Callable[[], Callable[[Any], Any] | None]
) -> Callable[[Any], Any]:
    """Return the result processor of a sealed column.

    A fetch opens whole rows itself and takes this function out of its way. It is called for a value whose row
    is not at hand: an element of an array, or what RETURNING gives for defaults. Such a value opens in a
    scope only, with every check.

    Args:
        column: the column.
        plain_processor: returns the result processor of the column's plain type, for a dry run.
    """

    def open_without_row(stored: Any) -> Any:
        if stored is None or type(stored) is Opened:
            return stored and stored.value
        if column.dry_run is not None:
            read = plain_processor()
            return stored if read is None else read(stored)
        if column.scheme.row_bound:
            raise UnsupportedOperation(
                f"{column.where} is row-bound and its row is not known here: select the column itself, with "
                "the columns of its row identity"
            )
        keys = _at_hand.get() or only_keys(column.table, column.where)
        return ColumnReader(column, keys).read_one(
            stored, column.reading_owner(None, keys.reads_without_tenant), row_says=False
        )

    setattr(open_without_row, COLUMN_ATTRIBUTE, column)
    return open_without_row


def processor_with_keys(processor: Callable[[Any], Any], keys: EngineKeys) -> Callable[[Any], Any]:
    """Return the result processor of a type with sealed values inside, for one result.

    Args:
        processor: calls the result processor of a sealed column for the values inside.
        keys: the keys of the database that the result comes from.
    """

    def process(value: Any) -> Any:
        before = _at_hand.set(keys)
        try:
            return processor(value)
        finally:
            _at_hand.reset(before)

    return process


def column_of_processor(processor: Any) -> SealedColumn | None:
    """Return the column whose result processor a function is; ``None`` for any other function."""
    column = getattr(processor, COLUMN_ATTRIBUTE, None)
    return column if isinstance(column, SealedColumn) else None
