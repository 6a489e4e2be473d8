"""What may be asked of a sealed column in SQL. What sealed bytes cannot answer is refused when compiled.

Nothing is refused while an expression is built: hybrids and index properties build theirs whenever SQLAlchemy
looks at the attributes of a class. What an expression stands beside, only the whole statement shows:
``hooks/unsupported`` checks that before it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import BinaryExpression, BindParameter, ColumnElement, Null, literal, null
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from sqlalchemy_cmk.errors import UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

_NULL_TESTS = (operators.is_, operators.is_not)
EQUALITY = (operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from)
MEMBERSHIP = (operators.in_op, operators.not_in_op)
_WRAPPING = (operators.distinct_op, operators.any_op, operators.all_op)

# What the comparators of JSON, ARRAY and HSTORE offer besides operators, which expressions of classes use.
_PROPERTIES = ("astext",)
_METHODS = (
    *("as_boolean", "as_float", "as_integer", "as_json", "as_numeric", "as_string"),
    *("contained_by", "defined", "delete_path", "has_all", "has_any", "has_key", "overlap"),
    *("path_exists", "path_match", "slice"),
)


class RefusedOperation(BinaryExpression[Any]):
    """An operation that sealed bytes cannot serve: it raises :class:`UnsupportedOperation` when compiled.

    Its truth is that of any ``==`` between columns, by which SQLAlchemy finds columns in lists. It holds no
    value that a column was compared with.

    Args:
        left: the sealed expression.
        right: the other operand, where that is SQL.
        operator: what was asked.
        advice: the error's message.
    """

    # Never in a cache: what is compiled always raises.
    inherit_cache = False

    def __init__(self, left: Any, right: Any, operator: OperatorType, advice: str) -> None:
        super().__init__(left, right, operator, type_=RefusedType(advice))
        self.advice = advice


@compiles(RefusedOperation)
def _refuse(element: RefusedOperation, compiler: Any, **_: Any) -> NoReturn:
    raise UnsupportedOperation(element.advice)


class _JsonNames:
    """Makes the methods of other types' comparators refused operations too, not missing attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in _PROPERTIES:
            return self.refused(name)
        if name in _METHODS:
            return lambda *args, **kwargs: self.refused(name)
        raise AttributeError(name)

    def refused(self, name: str) -> RefusedOperation:
        raise NotImplementedError


class RefusedComparator(_JsonNames, TypeEngine.Comparator[Any]):
    """Makes whatever is done with a refused operation one that is refused for the same reason."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation that is refused."""
        return RefusedOperation(self.expr, _column(other), op, self._advice)

    def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation that is refused."""
        return RefusedOperation(self.expr, _column((other,)), op, self._advice)

    def refused(self, name: str) -> RefusedOperation:
        """Return an operation that is refused, for a method of another type."""
        return RefusedOperation(self.expr, null(), operators.custom_op(name), self._advice)

    @property
    def _advice(self) -> str:
        return self.type.advice  # type: ignore[attr-defined, no-any-return]


class RefusedType(NullType):
    """The type of a refused operation.

    Args:
        advice: the error's message.
    """

    comparator_factory = RefusedComparator  # type: ignore[assignment]
    cache_ok = True

    def __init__(self, advice: str) -> None:
        self.advice = advice


class SealedComparator(_JsonNames, TypeDecorator.Comparator[Any]):
    """Builds what sealed values may answer; anything else is a :class:`RefusedOperation`."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation on the column."""
        sealed: EncryptedType = self.type  # type: ignore[assignment]
        if not _answers(sealed, op, other):
            return self._refused(op, other)
        if other and isinstance(other[0], bool):
            # SQLAlchemy would compare with the constant "true", which is equal to no sealed value.
            other = (literal(other[0], sealed), *other[1:])
        return super().operate(op, *other, **kwargs)

    def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation with the column on the right."""
        return self._refused(op, (other,))

    def refused(self, name: str) -> RefusedOperation:
        """Return an operation that is refused, for a method of another type."""
        return self._refused(operators.custom_op(name), ())

    def _refused(self, op: OperatorType, other: tuple[Any, ...]) -> RefusedOperation:
        sealed: EncryptedType = self.type  # type: ignore[assignment]
        advice = _advice(sealed, str(getattr(self.expr, "name", None) or "an expression"), op)
        return RefusedOperation(self.expr, _column(other), op, advice)


def is_null(other: Any) -> bool:
    """Return whether an operand is NULL."""
    return other is None or isinstance(other, Null)


def no_equality(where: str) -> str:
    """Return what to do where values with a random nonce are compared."""
    return (
        f"{where} is sealed with a random nonce and cannot be compared in SQL: declare it "
        "EncryptedType(..., deterministic=True), or select by another column and compare in Python"
    )


def _answers(sealed: EncryptedType, op: OperatorType, others: tuple[Any, ...]) -> bool:
    """Return whether sealed values may answer an operation, as far as the operation itself shows."""
    if op in _NULL_TESTS or (op in EQUALITY and others and is_null(others[0])):
        return bool(others) and is_null(others[0])
    return sealed.scheme.deterministic and op in (*EQUALITY, *MEMBERSHIP, *_WRAPPING)


def _column(others: tuple[Any, ...]) -> ColumnElement[Any]:
    """Return the SQL expression among operands; NULL in place of a value, which is not kept."""
    element: Any = others[0] if others else None
    if hasattr(element, "__clause_element__"):
        element = element.__clause_element__()
    if isinstance(element, ColumnElement) and not isinstance(element, BindParameter):
        return element
    return null()


def _advice(sealed: EncryptedType, where: str, op: OperatorType) -> str:
    if op in EQUALITY or op in MEMBERSHIP:
        return no_equality(where)
    answers = (
        "a deterministic column answers ==, !=, in_, is_, joins, distinct and group_by only"
        if sealed.scheme.deterministic
        else "only is_(None) and is_not(None) do"
    )
    name = getattr(op, "__name__", None) or getattr(op, "opstring", None) or str(op)
    return (
        f"{where} is sealed: {name} has no meaning on its stored bytes; {answers}; "
        "load the rows and sort, search or compute in Python"
    )
