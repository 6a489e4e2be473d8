"""What is asked of an indexed column in a form that its comparator does not see.

``func.lower(column) == x`` compares a function with something, and ``order_by(column)`` has no operator.
So are equalities of several columns, which an index over these answers together (``combining.py``). What
stands in WHERE, in the ON of ``join()`` and in ORDER BY is put into another form, of a statement and of the
SELECTs in it. Elsewhere, as in what the ORM adds by itself, it is refused; the error says how to write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    CompoundSelect,
    Delete,
    Select,
    UnaryExpression,
    Update,
    and_,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, Grouping
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from sqlalchemy_cmk.columns.ignoring_case import iequals_op, iin_op, not_iequals_op, not_iin_op
from sqlalchemy_cmk.columns.refused import RefusedOperation
from sqlalchemy_cmk.columns.token_columns import indexed_metadatas
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.combining import Combining
from sqlalchemy_cmk.hooks.extremes import extreme
from sqlalchemy_cmk.hooks.inner_selects import selects_in

_IGNORING_CASE: dict[Any, Any] = {
    **{operators.eq: iequals_op, operators.ne: not_iequals_op},
    **{operators.in_op: iin_op, operators.not_in_op: not_iin_op},
    **{operators.like_op: operators.ilike_op, operators.not_like_op: operators.not_ilike_op},
    operators.startswith_op: operators.istartswith_op,
    operators.not_startswith_op: operators.not_istartswith_op,
    operators.endswith_op: operators.iendswith_op,
    operators.not_endswith_op: operators.not_iendswith_op,
    operators.contains_op: operators.icontains_op,
    operators.not_contains_op: operators.not_icontains_op,
}
_DIRECTIONS = (operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op)


def rewritten(statement: Any, params: dict[str, Any] | None = None) -> Any:
    """Return a statement that asks indexes what it asked otherwise; or the statement itself.

    Args:
        statement: the statement.
        params: the values of its named parameters, changed in place: those that it has no more are taken
            out; ``None`` if there are several sets.
    """
    if not indexed_metadatas or not isinstance(statement, Select | CompoundSelect | Update | Delete):
        return statement
    combining = Combining(params)
    changed = _Rewriting(combining).of(statement)
    if params and not combining.used.isdisjoint(params):
        left = {one.key for one in iterate(changed) if isinstance(one, BindParameter)}
        for name in combining.used - left:
            params.pop(name, None)
    return changed


class _Rewriting:
    def __init__(self, combining: Combining) -> None:
        self._combining = combining

    def of(self, statement: Any) -> Any:
        """Return a statement and those inside it rewritten."""
        statement = self._own(statement)
        inner = {id(one) for one in selects_in(statement) if self._own(one) is not one}
        if not inner:
            return statement

        def replace(element: Any, **_: Any) -> Any:
            return self.of(element) if id(element) in inner else None

        return replacement_traverse(statement, {}, replace)

    def _own(self, statement: Any) -> Any:
        """Return a statement with its own WHERE, ON and ORDER BY rewritten."""
        self._combining.know(private.held_params(statement))
        if isinstance(statement, CompoundSelect):
            return statement
        criteria = private.criteria(statement)
        changed = self._conditions(criteria)
        if changed is not criteria:
            statement = private.with_criteria(statement, list(changed))
        if not isinstance(statement, Select):
            return statement
        joined = private.on_clauses(statement)
        on = [one if one is None else self._on_clause(one) for one in joined]
        if any(one is not other for one, other in zip(on, joined, strict=True)):
            statement = private.with_on_clauses(statement, on)
        ordering = private.ordering(statement)
        if any(_ordered(one) is not None for one in ordering):
            ordered = [one if (found := _ordered(one)) is None else found for one in ordering]
            statement = statement.order_by(None).order_by(*ordered)
        return extreme(statement)

    def _conditions(self, criteria: Sequence[Any]) -> Sequence[Any]:
        known = _resolved(criteria) if any(private.resolved(one) is not one for one in criteria) else criteria
        changed = known
        if any(map(_has_lower, known)):
            changed = [replacement_traverse(one, {}, _replace_lower) for one in known]
        changed = self._combining.of(changed)
        return criteria if changed is known else changed

    def _on_clause(self, clause: Any) -> Any:
        changed = self._conditions((clause,))
        return clause if len(changed) == 1 and changed[0] is clause else and_(*changed)


def _resolved(criteria: Sequence[Any]) -> list[Any]:
    """Return conditions with what lambdas give in their place."""
    found: list[Any] = []
    for one in map(private.resolved, criteria):
        found += one if isinstance(one, list | tuple) else (one,)
    return found


def _has_lower(element: Any) -> bool:
    """Return whether a condition compares ``lower`` of a sealed column, outside of subqueries."""
    if isinstance(element, BooleanClauseList):
        return any(map(_has_lower, element.clauses))
    if isinstance(element, Grouping | UnaryExpression):
        return _has_lower(element.element)
    return isinstance(element, BinaryExpression) and _lowered(element.left) is not None


def _lowered(element: Any) -> Any:
    """Return the sealed column of which an element is ``lower``; ``None`` for anything else."""
    if not isinstance(element, Function) or element.name.lower() != "lower":
        return None
    column = next(iter(element.clauses), None)
    return column if _is_sealed(column) else None


def _is_sealed(element: Any) -> bool:
    type_ = getattr(element, "type", None)
    column = type_.sealed_column if isinstance(type_, EncryptedType) else None
    return column is not None and column.dry_run is None


def _replace_lower(element: Any, **_: Any) -> Any:
    column = _lowered(element.left) if isinstance(element, BinaryExpression) else None
    operator = None if column is None else _IGNORING_CASE.get(element.operator)
    if column is None or operator is None:
        return None
    escape = element.modifiers.get("escape") if element.modifiers else None
    options = {} if escape is None else {"escape": escape}
    return column.operate(operator, _value(element.right), **options)


def _value(operand: Any) -> Any:
    """Return the value of a parameter that was given at once: it says how the question is answered."""
    if isinstance(operand, Function) and operand.name.lower() == "lower":
        operand = next(iter(operand.clauses), operand)
    if isinstance(operand, BindParameter) and operand.unique and operand.callable is None:
        return operand.value
    return operand


def _ordered(element: Any) -> Any:
    """Return the tokens that an element of an ORDER BY stands for; ``None`` if there are none."""
    if isinstance(element, UnaryExpression) and element.modifier in _DIRECTIONS:
        inner = _ordered(element.element)
        return None if inner is None else inner.operate(element.modifier)
    if not _is_sealed(element) or not hasattr(element, "table"):
        return None
    asked: Callable[..., Any] = element.operate
    found = asked(operators.asc_op)
    return None if isinstance(found, RefusedOperation) else found.element
