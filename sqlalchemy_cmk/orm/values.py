"""One value on its way into a sealed column: a Python value, a bound parameter, or SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from sqlalchemy import BindParameter, Insert, Null, Table, Update, bindparam
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import NullType

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.types import EncryptedType

MISSING = object()

Row = dict[str, Any]


def column_of(statement: Insert | Update, table: Table, key: Any) -> str | None:
    """Return the key of the table's column that a key of ``values()`` means; ``None`` for another table's."""
    if hasattr(key, "__clause_element__"):
        key = key.__clause_element__()
    if isinstance(key, str):
        model = statement.entity_description.get("entity")
        attribute = getattr(model, key, None) if isinstance(model, type) else None
        if not hasattr(attribute, "__clause_element__"):
            return key if key in table.c else None
        key = attribute.__clause_element__()  # type: ignore[union-attr]
    column_key = getattr(key, "key", None)
    return column_key if isinstance(column_key, str) and column_key in table.c else None


def known_value(value: Any, row: Row) -> Any:
    """Return the Python value of an element of ``values()``; ``MISSING`` where the database computes it."""
    if isinstance(value, BindParameter):
        return row.get(value.key, value.effective_value)
    if hasattr(value, "__clause_element__") or isinstance(value, ClauseElement):
        return None if isinstance(value, Null) else MISSING
    return value


def seal_value(column: SealedColumn, value: Any, tenant: str, row: Row) -> Any:
    """Return what to write in place of a value: sealed, or SQL that cannot hold a plaintext.

    Args:
        row: the parameters of the execution, for values given by ``bindparam("name")``.

    Raises:
        UnsupportedOperation: SQL that would write a plaintext into the column.
    """
    element = value.__clause_element__() if hasattr(value, "__clause_element__") else value
    if isinstance(element, BindParameter):
        if not isinstance(element.type, EncryptedType | NullType):
            raise UnsupportedOperation(
                f"{column.where}: a parameter of type {element.type!r} would be written unsealed"
            )
        if element.key in row:
            row[element.key] = seal_plain(column, row[element.key], tenant)
            return value
        if element.required:  # SQLAlchemy says that it was not given
            return value
        return seal_plain(column, element.effective_value, tenant)
    if isinstance(element, ClauseElement):
        if isinstance(element, Null) or _same_context(column, element):
            return value
        raise UnsupportedOperation(
            f"{column.where}: a SQL expression would write a plaintext into a sealed column: "
            "compute the value in Python"
        )
    return seal_plain(column, element, tenant)


def as_element(column: SealedColumn, value: Any) -> Any:
    """Return a value as a SQL element, the form in which ``values()`` keeps it."""
    if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
        return value
    return bindparam(None, value, type_=column.column.type, unique=True)


def seal_plain(column: SealedColumn, value: Any, tenant: str) -> Any:
    """Seal a Python value; ``None`` stays NULL unless the type keeps it apart, as JSON does."""
    return column.sealer(tenant)(value)


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


def _same_context(column: SealedColumn, element: Any) -> bool:
    place = getattr(getattr(element, "type", None), "place", None)
    if not isinstance(element, ColumnClause) or place is None or place.context != column.context:
        return False
    return column.accept_plaintext or not place.accept_plaintext


def python_default(default: Any) -> Any:
    """Return the value of a column's Python-side default; ``MISSING`` where it has none."""
    if default is None:
        return MISSING
    if default.is_scalar:
        return default.arg
    return default.arg(_NoContext()) if default.is_callable else MISSING


class _NoContext:
    """In place of SQLAlchemy's execution context, which does not exist yet when a default is sealed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise UnsupportedOperation(
            "a default that reads the statement's other values is not supported here, in a table with sealed "
            "columns: set the value in Python, in __init__ or before the flush"
        )
