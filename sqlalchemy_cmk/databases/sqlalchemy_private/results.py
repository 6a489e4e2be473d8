"""Results: what their columns stand for, and rows that are opened before SQLAlchemy reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import CursorResult
from sqlalchemy.engine.cursor import (
    CursorFetchStrategy,
    FullyBufferedCursorFetchStrategy,
    ResultFetchStrategy,
)
from sqlalchemy.engine.interfaces import Compiled

OpenRows = Callable[[Sequence[Any]], Sequence[Any]]

# The metadata of a statement's results as SQLAlchemy keeps it, and without the processors of sealed columns.
_without_processors: WeakKeyDictionary[Compiled, tuple[Any, tuple[int, ...], Any]] = WeakKeyDictionary()


def result_processors(result: CursorResult[Any]) -> Sequence[Any]:
    """Return the result processor of each column of a result, in the order of the raw rows."""
    return getattr(result._metadata, "_processors", None) or ()


def result_objects(result: CursorResult[Any]) -> Sequence[tuple[Any, ...]]:
    """Return the objects, columns and labels, that each column of a result stands for, in the same order."""
    compiled = getattr(result.context, "compiled", None)
    if compiled is not None and is_positional(result):
        return [entry[2] for entry in compiled._result_columns]
    found: list[tuple[Any, ...]] = [()] * len(result_processors(result))
    for record in result._metadata._keymap.values():
        if record[0] is not None:
            found[record[0]] = record[2] or ()
    return found


def result_types(result: CursorResult[Any]) -> Sequence[Any]:
    """Return the type of each column of a result; nothing where its columns were not compiled in order."""
    compiled = getattr(result.context, "compiled", None)
    return (
        [entry[3] for entry in compiled._result_columns]
        if compiled is not None and is_positional(result)
        else []
    )


def is_positional(result: CursorResult[Any]) -> bool:
    """Return whether a statement's results always have the columns that were compiled, in their order."""
    return bool(getattr(result._metadata, "_safe_for_cache", False))


def take_out_processors(result: CursorResult[Any], indexes: tuple[int, ...]) -> None:
    """Have a result's rows made without the processors of some columns, whose values are opened already."""
    metadata: Any = result._metadata
    compiled = getattr(result.context, "compiled", None)
    known = _without_processors.get(compiled) if compiled is not None else None
    if known is not None and known[0] is metadata and known[1] == indexes:
        taken = known[2]
    else:
        taken = _replaced(metadata, dict.fromkeys(indexes))
        if compiled is not None and is_positional(result):
            _without_processors[compiled] = metadata, indexes, taken
    result._metadata = taken
    result._reset_memoizations()


def replace_processors(result: CursorResult[Any], processors: Mapping[int, Any]) -> None:
    """Have a result's rows made with other processors of some columns."""
    result._metadata = _replaced(result._metadata, processors)
    result._reset_memoizations()


def _replaced(metadata: Any, others: Mapping[int, Any]) -> Any:
    processors = list(metadata._processors)
    for index, processor in others.items():
        processors[index] = processor
    return metadata._make_new_metadata(
        unpickled=metadata._unpickled,
        processors=processors,
        keys=metadata._keys,
        keymap=metadata._keymap,
        tuplefilter=metadata._tuplefilter,
        translated_indexes=metadata._translated_indexes,
        safe_for_cache=metadata._safe_for_cache,
        keymap_by_result_column_idx=metadata._keymap_by_result_column_idx,
    )


def raw_rows(result: CursorResult[Any]) -> Sequence[Any]:
    """Return all rows of a result as the driver gives them, past the types of its columns."""
    cursor = result.cursor
    rows: Sequence[Any] = [] if cursor is None else cursor.fetchall()
    result.close()
    return rows


def open_fetched(result: CursorResult[Any], open_rows: OpenRows, *, now: bool) -> None:
    """Have the raw rows of a result opened before SQLAlchemy makes its rows of them.

    Args:
        result: the result.
        open_rows: returns raw rows opened.
        now: read and open all rows now, unless the result is a stream.
    """
    inner = result.cursor_strategy
    if now and type(inner) is CursorFetchStrategy and result.cursor is not None:
        rows = open_rows(list(result.cursor.fetchall()))
        result.cursor_strategy = FullyBufferedCursorFetchStrategy(result.cursor, initial_buffer=rows)
    else:
        result.cursor_strategy = OpeningFetch(inner, open_rows)


class OpeningFetch(ResultFetchStrategy):
    """Passes on another strategy's rows, opened.

    Args:
        inner: the other strategy.
        open_rows: returns raw rows opened.
    """

    __slots__ = ("_inner", "_open_rows")

    def __init__(self, inner: ResultFetchStrategy, open_rows: OpenRows) -> None:
        self._inner = inner
        self._open_rows = open_rows

    @property
    def alternate_cursor_description(self) -> Any:  # type: ignore[override]
        """The inner strategy's."""
        return self._inner.alternate_cursor_description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        """Pass on."""
        self._inner.soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """Pass on."""
        self._inner.hard_close(result, dbapi_cursor)

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        """Pass on; the inner strategy may put another in its place."""
        result.cursor_strategy = self._inner
        self._inner.yield_per(result, dbapi_cursor, num)
        self._inner = result.cursor_strategy
        result.cursor_strategy = self

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """Fetch one row, opened."""
        row = self._inner.fetchone(result, dbapi_cursor, hard_close)
        return None if row is None else self._open_rows((row,))[0]

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """Fetch some rows, opened."""
        return self._open_rows(self._inner.fetchmany(result, dbapi_cursor, size))

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """Fetch all rows, opened."""
        return self._open_rows(self._inner.fetchall(result, dbapi_cursor))

    def handle_exception(self, result: Any, dbapi_cursor: Any, err: BaseException) -> Any:
        """Pass on."""
        return self._inner.handle_exception(result, dbapi_cursor, err)


def returned_columns(compiled: Any) -> Sequence[Any]:
    """Return the columns that a compiled INSERT, UPDATE or DELETE returns, each with its objects and type."""
    return compiled._result_columns if getattr(compiled, "effective_returning", None) else ()


def is_in_batches(context: Any) -> bool:
    """Return whether an INSERT is sent in batches whose rows SQLAlchemy collects."""
    return context._insertmanyvalues_rows is not None


def replace_batches(context: Any, open_rows: OpenRows) -> None:
    """Have the rows that an INSERT in batches returns opened before SQLAlchemy reads them."""
    rows = context._insertmanyvalues_rows
    if rows is not None and not isinstance(rows, _Batches):
        context._insertmanyvalues_rows = _Batches(rows, open_rows)


class _Batches:
    """The rows of all batches, which SQLAlchemy collects in a list, as it reads them in the end."""

    def __init__(self, rows: list[Any], open_rows: OpenRows) -> None:
        self._rows = rows
        self._open_rows = open_rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open_rows(self._rows))


def replace_returned(context: Any, open_rows: OpenRows) -> None:
    """Have the rows that a statement returns read and opened now, if its driver has them at the cursor."""
    if type(context.cursor_fetch_strategy) is CursorFetchStrategy and context.cursor.description:
        rows = open_rows(context.cursor.fetchall())
        context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(context.cursor, initial_buffer=rows)


def logged_row(argument: Any) -> Any:
    """Return the row that an argument of a log record shows; ``None`` if it shows none."""
    return getattr(argument, "row", None)


def row_processors(row: Any) -> Sequence[Any]:
    """Return the result processors of a row's columns."""
    return getattr(getattr(row, "_parent", None), "_processors", None) or ()


def row_types(row: Any) -> Iterator[Any]:
    """Return the types of the columns that a row's metadata knows.

    Rows put together from several results, as RETURNING gives them, have their processors behind them.
    """
    for record in (getattr(getattr(row, "_parent", None), "_keymap", None) or {}).values():
        for one in record[2] or ():
            yield getattr(one, "type", None)
