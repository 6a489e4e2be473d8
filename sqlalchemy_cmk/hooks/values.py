"""One value of an INSERT or UPDATE: the column that it is for, and what is known of it in Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, Insert, Null, Table, Update, bindparam
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.errors import UnsupportedOperation

MISSING = object()

Row = dict[str, Any]


def column_of(statement: Insert | Update, table: Table, key: Any) -> str | None:
    """Return the key of the table's column that a key of ``values()`` means; ``None`` for another table's."""
    if hasattr(key, "__clause_element__"):
        key = key.__clause_element__()
    if isinstance(key, str):
        model = _model_of(statement)
        attribute = getattr(model, key, None) if isinstance(model, type) else None
        if not hasattr(attribute, "__clause_element__"):
            return key if key in table.c else None
        key = attribute.__clause_element__()  # type: ignore[union-attr]
    column_key = getattr(key, "key", None)
    return column_key if isinstance(column_key, str) and column_key in table.c else None


def _model_of(statement: Insert | Update) -> Any:
    """Return the model that a statement names as its target; ``None`` for a table."""
    try:
        return statement.entity_description.get("entity")
    except KeyError:  # of update(Table) with criteria of a model, SQLAlchemy has no description
        return None


def known_value(value: Any, row: Row) -> Any:
    """Return the Python value of an element of ``values()``; ``MISSING`` where the database computes it."""
    if isinstance(value, BindParameter):
        return row.get(value.key, value.effective_value)
    if hasattr(value, "__clause_element__") or isinstance(value, ClauseElement):
        return None if isinstance(value, Null) else MISSING
    return value


def as_element(column: SealedColumn, value: Any) -> Any:
    """Return a value as a SQL element, the form in which ``values()`` keeps it."""
    if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
        return value
    return bindparam(None, value, type_=column.column.type, unique=True)


def refuse_shared(statement: Insert | Update, values: Iterable[Any], rows: list[Row]) -> None:
    """Refuse a named parameter that is written to a sealed column and used elsewhere as well.

    Raises:
        UnsupportedOperation: what is sealed for the one would reach the other.
    """
    names = {one.key for one in values if isinstance(one, BindParameter) and one.key in rows[0]}
    if not names:
        return
    used = Counter(one.key for one in iterate(statement) if isinstance(one, BindParameter))
    for name in names:
        if used[name] > 1:
            raise UnsupportedOperation(
                f"the parameter {name!r} is sealed for one column and used elsewhere too: give each its own"
            )
