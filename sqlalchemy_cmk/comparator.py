"""What may be asked of a sealed column in SQL, and what is refused while the statement is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import BinaryExpression, BindParameter, Boolean, ColumnElement, Null, ScalarSelect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import NullType, TypeDecorator

from sqlalchemy_cmk.errors import UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy_cmk.types import EncryptedType

_NULL_TESTS = (operators.is_, operators.is_not)
_EQUALITY = (operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from)
_MEMBERSHIP = (operators.in_op, operators.not_in_op)
_HARMLESS = (operators.distinct_op, operators.any_op, operators.all_op)


class RefusedComparison(BinaryExpression[bool]):
    """A comparison of two columns that could never be equal: it is refused when it is compiled.

    It cannot be refused when it is made: SQLAlchemy itself looks for columns in lists by ``==``, and then
    asks for the truth of the expression, which tells whether they are the same column.
    """

    inherit_cache = True


@compiles(RefusedComparison)
def _refuse(element: RefusedComparison, compiler: Any, **_: Any) -> NoReturn:
    raise UnsupportedOperation(
        f"{element.left} = {element.right}: sealed columns can only be compared if both are deterministic "
        "and of the same context: declare both EncryptedType(..., deterministic=True, context=...)"
    )


class SealedComparator(TypeDecorator.Comparator[Any]):
    """Lets through what sealed values can answer; the rest raises :class:`UnsupportedOperation`."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Check an operation on the column and build it."""
        lazily = self._check(op, other)
        expression = super().operate(op, *other, **kwargs)
        if lazily and isinstance(expression, BinaryExpression):
            return RefusedComparison(expression.left, expression.right, op, type_=Boolean())
        return expression

    def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Check an operation with the column on the right and build it."""
        self._check(op, (other,))
        return super().reverse_operate(op, other, **kwargs)

    def _check(self, op: OperatorType, others: tuple[Any, ...]) -> bool:
        """Refuse an operation now, or return that it is to be refused when it is compiled."""
        sealed: EncryptedType = self.type  # type: ignore[assignment]
        if op in _NULL_TESTS or (op in _EQUALITY and others and _is_null(others[0])):
            return False
        if op in _EQUALITY and others and _is_column(others[0]):
            if _comparable(sealed, others[0]):
                return False
            if isinstance(others[0], ColumnElement):
                return True
        elif any(_is_plain_parameter(one) for one in _flat(others)):
            raise UnsupportedOperation(
                f"{getattr(self.expr, 'name', self.expr)} is sealed, and a parameter with a type of its own "
                "would be sent in plain text: write the value itself, or "
                'bindparam("name", type_=Model.column.type)'
            )
        elif sealed.deterministic and op in (*_EQUALITY, *_MEMBERSHIP, *_HARMLESS):
            return False
        raise UnsupportedOperation(
            _advice(sealed, str(getattr(self.expr, "name", None) or self.expr), op, others)
        )


def _is_null(other: Any) -> bool:
    return other is None or isinstance(other, Null)


def _flat(others: tuple[Any, ...]) -> list[Any]:
    flat: list[Any] = []
    for other in others:
        flat.extend(other if isinstance(other, list | tuple | set | frozenset) else [other])
    return flat


def _is_plain_parameter(other: Any) -> bool:
    """Tell whether a bound parameter would be sent as it is, not sealed as the column's values are."""
    return isinstance(other, BindParameter) and not (
        isinstance(other.type, NullType) or hasattr(other.type, "place")
    )


def _is_column(other: Any) -> bool:
    """Tell whether the other side is SQL rather than a value."""
    if isinstance(other, BindParameter):
        return False
    return isinstance(other, ColumnElement) or hasattr(other, "__clause_element__")


def _comparable(sealed: EncryptedType, other: Any) -> bool:
    element = other.__clause_element__() if hasattr(other, "__clause_element__") else other
    if isinstance(element, ScalarSelect | Grouping):
        return sealed.deterministic and getattr(element.type, "place", None) is not None
    theirs = getattr(getattr(element, "type", None), "place", None)
    ours = sealed.place
    if theirs is None or ours is None or not sealed.deterministic:
        return False
    return theirs is ours or bool(theirs.suite is ours.suite and theirs.context == ours.context)


def _advice(sealed: EncryptedType, where: str, op: OperatorType, others: tuple[Any, ...]) -> str:
    if op in _EQUALITY and others and _is_column(others[0]) and sealed.deterministic:
        return (
            f"{where} can only be compared with a value or with a deterministic column of the same context: "
            "give both columns the same EncryptedType(..., context=...)"
        )
    if op in _EQUALITY or op in _MEMBERSHIP:
        return (
            f"{where} is sealed with a random nonce and cannot be compared in SQL: declare it "
            "EncryptedType(..., deterministic=True), or select by another column and compare in Python"
        )
    answers = (
        "a deterministic column answers ==, !=, in_, is_, joins, distinct and group_by only"
        if sealed.deterministic
        else "only is_(None) and is_not(None) do"
    )
    name = getattr(op, "__name__", str(op))
    return (
        f"{where} is sealed: {name} has no meaning on its stored bytes; {answers}; "
        "load the rows and sort, search or compute in Python"
    )
