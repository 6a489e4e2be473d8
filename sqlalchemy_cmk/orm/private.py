"""The few places where SQLAlchemy offers no public way: one small function each.

``tests/orm/test_private.py`` fails when an upstream release changes what they stand on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import CursorResult, Insert, Select, Update
from sqlalchemy.engine.cursor import (
    CursorFetchStrategy,
    FullyBufferedCursorFetchStrategy,
    ResultFetchStrategy,
)
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql.elements import _textual_label_reference
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.util import immutabledict

Values = dict[Any, Any]


def single_values(statement: Insert | Update) -> Values:
    """Return what ``.values(a=1)`` put into a statement, by column or name."""
    ordered = getattr(statement, "_ordered_values", None)
    return dict(ordered or statement._values or {})


def multi_values(statement: Insert) -> list[Any]:
    """Return the rows that ``.values([{...}, {...}])`` put into an INSERT."""
    return [row for rows in statement._multi_values for row in rows]


def with_multi_values(statement: Insert, rows: list[Values]) -> Insert:
    """Return a copy of an INSERT with other rows."""
    changed: Insert = statement._generate()
    changed._multi_values = (rows,)
    return changed


def with_single_values(statement: Insert | Update, values: Values) -> Any:
    """Return a copy of a statement with some of its values replaced, in their order."""
    changed: Any = statement._generate()
    if getattr(statement, "_ordered_values", None):
        changed._ordered_values = [(key, values.get(key, value)) for key, value in statement._ordered_values]  # type: ignore[union-attr]
    else:
        changed._values = immutabledict({**dict(statement._values or {}), **values})
    return changed


def upsert_clause(statement: Insert) -> Any:
    """Return the ON CONFLICT or ON DUPLICATE KEY clause of an INSERT, or ``None``."""
    return statement._post_values_clause


def with_upsert_clause(statement: Insert, clause: Any) -> Insert:
    """Return a copy of an INSERT with another such clause."""
    changed: Insert = statement._generate()
    changed._post_values_clause = clause
    return changed


def is_from_select(statement: Insert) -> bool:
    """Tell whether an INSERT takes its rows from a SELECT."""
    return statement.select is not None


def ordering(statement: Any) -> Sequence[Any]:
    """Return the ORDER BY elements of a SELECT or UNION; for a name the column that it stands for."""
    found = []
    for element in getattr(statement, "_order_by_clauses", ()):
        names = {part.element for part in iterate(element) if isinstance(part, _textual_label_reference)}
        named = statement.selected_columns if names else ()
        found += [one for one in named if names & {getattr(one, "name", None), getattr(one, "key", None)}]
        found.append(element)
    return found


def grouping(statement: Any) -> Sequence[Any]:
    """Return the GROUP BY elements, and for SELECT DISTINCT the selected ones."""
    selected = statement._raw_columns if isinstance(statement, Select) and statement._distinct else ()
    return (*getattr(statement, "_group_by_clauses", ()), *selected)


def result_columns(compiled: Compiled) -> Sequence[tuple[tuple[Any, ...], Any]]:
    """Return the objects and the type of each column of a statement's result, in order."""
    return [(entry[2], entry[3]) for entry in getattr(compiled, "_result_columns", None) or ()]


def sealed_processors(row: Any) -> Sequence[Any]:
    """Return the result processors of a row's columns."""
    return getattr(getattr(row, "_parent", None), "_processors", None) or ()


def row_types(row: Any) -> Iterator[Any]:
    """Return the types of the columns that a row's metadata knows.

    Rows put together from several results, as RETURNING gives them, have their processors behind them.
    """
    for record in (getattr(getattr(row, "_parent", None), "_keymap", None) or {}).values():
        for one in record[2] or ():
            yield getattr(one, "type", None)


def buffer_rows(result: CursorResult[Any]) -> ResultFetchStrategy | None:
    """Read all rows of an unbuffered result now and return the strategy that gives them out."""
    if type(result.cursor_strategy) is not CursorFetchStrategy or result.cursor is None:
        return None
    return FullyBufferedCursorFetchStrategy(result.cursor, initial_buffer=list(result.cursor.fetchall()))


def raw_rows(result: CursorResult[Any]) -> Sequence[Any]:
    """Return all rows of a result as the driver gives them, past the types of its columns."""
    cursor = result.cursor
    rows: Sequence[Any] = [] if cursor is None else cursor.fetchall()
    result.close()
    return rows


def buffered_rows(buffered: ResultFetchStrategy) -> Sequence[Any]:
    """Return the rows that :func:`buffer_rows` has read."""
    return list(getattr(buffered, "_rowbuffer"))  # noqa: B009


def refreshed_state(execution: ORMExecuteState) -> Any:
    """Return the state of the instance whose columns a SELECT loads, or ``None``."""
    return getattr(execution.load_options, "_refresh_state", None)
