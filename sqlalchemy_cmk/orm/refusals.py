"""Statements that sealed bytes cannot serve: found once for each compiled statement, before it is sent.

What a comparator can see is refused while the statement is written (``comparator.py``). Here is what only the
whole statement shows: an ORDER BY, a function, a write in a CTE or through an alias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    Case,
    Cast,
    ClauseElement,
    ClauseList,
    CompoundSelect,
    FromClause,
    Insert,
    Over,
    Select,
    Table,
    Tuple,
    Update,
)
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.elements import ExpressionClauseList, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import NullType

from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.columns import is_binary
from sqlalchemy_cmk.orm.tenants import sealed_columns, tenant_source
from sqlalchemy_cmk.types import EncryptedType

# Those that compute with a value, and those that give one of theirs. Others, as count, take it as it is.
_COMPUTING = {"min", "max", "sum", "avg", "lower", "upper", "concat", "replace", "substr", "substring"}
_CHOOSING = {"coalesce", "ifnull", "isnull", "nvl", "nullif", "greatest", "least"}

_passed: WeakSet[Compiled] = WeakSet()


def before_cursor_execute(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Refuse a compiled statement that would misuse a sealed column.

    Raises:
        UnsupportedOperation: it orders by, groups by or computes with sealed bytes, or writes to a sealed
            column in a way that the hooks do not see.
    """
    compiled = getattr(context, "compiled", None)
    if compiled is None or compiled in _passed:
        return
    whole = compiled.statement
    if isinstance(whole, ClauseElement):
        for element in iterate(whole):
            _refuse_reading(element)
            _refuse_plain(element)
            if isinstance(element, Insert | Update):
                _refuse_writing(element, nested=element is not whole)
    _passed.add(compiled)


def _refuse_reading(element: Any) -> None:
    if isinstance(element, Select | CompoundSelect):
        for one in private.ordering(element):
            _refuse_order(one)
        for one in private.grouping(element):
            if _is_random(one):
                raise UnsupportedOperation(
                    f"GROUP BY or DISTINCT over {one}: it is sealed with a random nonce, no two values "
                    "are equal: declare it EncryptedType(..., deterministic=True)"
                )
    elif isinstance(element, Over):
        for one in iterate(element.order_by) if element.order_by is not None else ():
            _refuse_order(one)
    elif isinstance(element, FunctionElement) and getattr(element, "name", "").lower() in _COMPUTING:
        if any(map(_is_sealed, element.clauses)):
            raise UnsupportedOperation(
                f"{element} has no meaning on sealed bytes: load the rows and compute in Python"
            )
    elif isinstance(element, Tuple) and any(map(_is_random, element.clauses)):
        raise UnsupportedOperation(
            f"{element} compares a column that is sealed with a random nonce: declare it "
            "EncryptedType(..., deterministic=True)"
        )


def _refuse_plain(element: Any) -> None:
    """Refuse a plain value where a sealed one stands: it would be sent as it is, and be equal to none."""
    for beside in _alternatives(element):
        if any(map(_is_sealed, beside)) and any(map(_is_plain, beside)):
            raise UnsupportedOperation(
                f"{element} puts a plain value beside a sealed column, and would send it in plain text: "
                "compare the column itself with the value, or choose in Python"
            )
    if isinstance(element, Cast) and _is_sealed(element.clause) and not _keeps_bytes(element.type):
        raise UnsupportedOperation(
            f"{element} has no meaning on sealed bytes: load the rows and convert in Python"
        )


def _alternatives(element: Any) -> Iterator[list[Any]]:
    """Return the operands of an element of which one stands for another."""
    if isinstance(element, BinaryExpression):
        yield [*_operands(element.left), *_operands(element.right)]
    elif isinstance(element, Case):
        yield [result for _, result in element.whens] + [element.else_]
        if element.value is not None:
            yield [element.value, *(condition for condition, _ in element.whens)]
    elif isinstance(element, FunctionElement) and getattr(element, "name", "").lower() in _CHOOSING:
        yield list(element.clauses)


def _operands(element: Any) -> Iterator[Any]:
    if isinstance(element, Grouping):
        yield from _operands(element.element)
    elif isinstance(element, ClauseList | ExpressionClauseList):
        for one in element.clauses:
            yield from _operands(one)
    else:
        yield element


def _is_plain(element: Any) -> bool:
    return isinstance(element, BindParameter) and not _is_sealed(element)


def _keeps_bytes(type_: Any) -> bool:
    return isinstance(type_, EncryptedType | NullType) or is_binary(type_)


def _refuse_order(element: Any) -> None:
    if _is_sealed(element):
        raise UnsupportedOperation(
            f"ORDER BY {element}: sealed bytes have no useful order: sort the loaded rows in Python"
        )


def _is_sealed(element: Any) -> bool:
    return isinstance(getattr(element, "type", None), EncryptedType)


def _is_random(element: Any) -> bool:
    return _is_sealed(element) and not element.type.deterministic


def _refuse_writing(statement: Insert | Update, *, nested: bool) -> None:
    """Refuse a write whose values the hooks have not sealed: they see a whole statement on a table itself."""
    target: Any = statement.table
    seen = isinstance(target, Table) and not nested
    for table in [target] if isinstance(target, Table) else _tables(target):
        if not seen and isinstance(statement, Insert) and sealed_columns(table):
            raise UnsupportedOperation(
                f"{table.fullname}: an INSERT in a CTE is not sealed row by row: run it by itself"
            )
        if not seen and isinstance(statement, Update) and (sealed_columns(table) or tenant_source(table)):
            raise UnsupportedOperation(
                f"{table.fullname}: an UPDATE of an alias, a join or in a CTE is not sealed row by row: "
                "update the table itself"
            )
    for key in private.single_values(statement):
        element = key.__clause_element__() if hasattr(key, "__clause_element__") else key
        other = getattr(element, "table", None)
        if isinstance(other, Table) and other.key != getattr(target, "key", None) and sealed_columns(other):
            raise UnsupportedOperation(
                f"{other.fullname}: an UPDATE of another table cannot write to it: update it by itself"
            )


def _tables(target: FromClause) -> Iterator[Table]:
    return (one for one in iterate(target) if isinstance(one, Table))
