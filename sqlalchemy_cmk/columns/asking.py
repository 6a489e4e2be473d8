"""Answers a question about a sealed column by one of its search indexes, where its stored bytes cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    ColumnElement,
    FromClause,
    Null,
    ScalarSelect,
    SelectBase,
    Table,
    bindparam,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import ColumnOperators, OperatorType

from sqlalchemy_cmk.columns.asked import Asked
from sqlalchemy_cmk.columns.candidates import Candidate
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.index_slots import Slot, slots_of
from sqlalchemy_cmk.columns.indexes import Question
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType, second_of, token_indexes
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.keys.indexes.records import IndexView

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType


def answer_by_index(
    expression: Any,
    sealed: EncryptedType,
    op: OperatorType,
    operands: tuple[Any, ...],
    options: dict[str, Any],
) -> tuple[ColumnElement[Any] | None, str | None]:
    """Return the SQL by which an index answers an operation on a sealed column; ``None`` if none does.

    An index that answers exactly goes before one that finds candidates. In a dry run there are no tokens: the
    plain values answer.

    Returns:
        The answer; and why an index that answers such operations does not answer this one, if it said so.
    """
    column = sealed.sealed_column
    if not sealed.scheme.index or column is None or column.dry_run is not None:
        return None, None
    candidate, reason = None, None
    for one in _indexes(column):
        question = Question(
            sealed,
            op,
            operands,
            options,
            lambda part, one=one: Asked(hidden_of(expression, one), one, part),  # type: ignore[misc]
            lambda operand, one=one: _asked_beside(operand, one),  # type: ignore[misc]
            lambda part, operand, one=one: as_parameter(  # type: ignore[misc]
                operand, TokenType(one.index, part, one)
            ),
        )
        try:
            answer = one.index.answer(question)
        except UnsupportedOperation as error:
            reason = reason or f"{one.sealed.where}: {error}"
            continue
        if answer is not None and not isinstance(answer, Candidate):
            return answer, None
        candidate = answer if candidate is None else candidate
    if candidate is None and reason is None and op in (operators.in_op, operators.not_in_op):
        reason = _of_subquery(column, operands[0])
    return candidate, reason


def _of_subquery(column: SealedColumn, operand: Any) -> str | None:
    """Return why IN with a SELECT is refused; ``None`` for any other operand."""
    element = operand.__clause_element__() if hasattr(operand, "__clause_element__") else operand
    if not isinstance(element, SelectBase | ScalarSelect | FromClause):
        return None
    return (
        f"{column.where}: a search index makes no tokens of what a SELECT gives: join the two columns, which "
        "needs one context= and equal indexes, ask by exists() of such a comparison, or select the values "
        "first and give them as a list"
    )


def _indexes(column: SealedColumn) -> tuple[TokenIndex, ...]:
    table = column.column.table
    return token_indexes(table).get(str(column.column.key), ()) if isinstance(table, Table) else ()


def hidden_of(expression: Any, one: TokenIndex, number: int = 0) -> ColumnElement[Any]:
    """Return a hidden column of the FROM that an expression is of, which may be an alias."""
    columns = getattr(getattr(expression, "table", None), "c", None)
    hidden = None if columns is None else columns.get(one.key)
    if hidden is None:
        raise UnsupportedOperation(
            f"this expression is of a subquery, which has no tokens of the index {one.index.suffix!r}: "
            "compare inside the subquery, or select the entity"
        )
    # In the condition of a relationship, the hidden column stands for the sealed one.
    hidden = private.marked_like(hidden, expression)
    return second_of(hidden, one) if number else hidden


def as_parameter(operand: Any, type_: Any) -> Any:
    """Return an operand as parameters of a type, which no type that the caller gave takes the place of."""
    if isinstance(operand, list | tuple | set | frozenset):
        if not any(isinstance(one, ClauseElement) or hasattr(one, "__clause_element__") for one in operand):
            return bindparam(None, list(operand), type_=type_, unique=True, expanding=True)
        found = [as_parameter(one, type_) for one in operand]
        return None if any(one is None for one in found) else found
    element = operand.__clause_element__() if hasattr(operand, "__clause_element__") else operand
    if isinstance(element, ColumnOperators) and not isinstance(element, ClauseElement):
        return element  # a variable of a lambda statement, which becomes a parameter of the type it meets
    if isinstance(element, BindParameter):
        return private.retyped(element, type_)
    if isinstance(element, ClauseElement):
        return element if isinstance(element, Null) else None
    return bindparam(None, element, type_=type_, unique=True)


def hidden_beside(operand: Any, slot: Slot, view: IndexView) -> ColumnElement[Any] | None:
    """Return the hidden column beside another sealed column whose tokens may be copied to a hidden column.

    Its tokens are under the same DEK, and each row has one: it is of the same column, as a row has it that an
    upsert brings, or of another that has an equal index.

    Args:
        operand: the other column.
        slot: where the tokens are copied to.
        view: the indexes that the database has.
    """
    element, theirs = _alike(operand, slot.index)
    if theirs is None:
        return None
    if theirs is slot.index:
        return hidden_of(element, theirs, slot.number)
    asked = slots_of(theirs, view).asked
    return hidden_of(element, theirs, asked.number) if asked and asked.purpose is slot.purpose else None


def _asked_beside(operand: Any, one: TokenIndex) -> ColumnElement[Any] | None:
    """Return the tokens of another sealed column, if its index makes equal tokens of equal values."""
    element, theirs = _alike(operand, one)
    return None if theirs is None else Asked(hidden_of(element, theirs), theirs, "", one)


def _alike(operand: Any, one: TokenIndex) -> tuple[Any, TokenIndex | None]:
    element = operand.__clause_element__() if hasattr(operand, "__clause_element__") else operand
    other = getattr(getattr(element, "type", None), "sealed_column", None)
    if isinstance(element, BindParameter) or not isinstance(other, SealedColumn):
        return element, None
    if other.is_tenants is not one.sealed.is_tenants:
        return element, None
    alike = [theirs for theirs in _indexes(other) if theirs.info == one.info]
    return element, alike[0] if alike else None
