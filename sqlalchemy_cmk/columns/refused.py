"""Operations that sealed values cannot serve: built like any other, and refused when compiled.

Nothing is refused while an expression is built: hybrids and index properties build theirs whenever SQLAlchemy
looks at the attributes of a class. In a dry run a refused operation compiles to that of the plain type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import BinaryExpression, BindParameter, ColumnElement, null, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.columns.answers import answer_to
from sqlalchemy_cmk.errors import UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

# What the comparators of JSON, ARRAY and HSTORE offer besides operators, which expressions of classes use.
_PROPERTIES = ("astext",)
_METHODS = (
    *("as_boolean", "as_float", "as_integer", "as_json", "as_numeric", "as_string"),
    *("contained_by", "defined", "delete_path", "has_all", "has_any", "has_key", "overlap"),
    *("path_exists", "path_match", "slice"),
)

# Given both operands with their plain types, returns the operation on them.
OnPlain = Callable[[Any, Any], Any]


class RefusedOperation(BinaryExpression[Any]):
    """An operation that sealed bytes cannot serve: it raises :class:`UnsupportedOperation` when compiled.

    Its truth is that of any ``==`` between columns, by which SQLAlchemy finds columns in lists.

    Args:
        left: the sealed expression, or another refused operation.
        right: the other operand, where that is SQL.
        operator: what was asked.
        sealed: the sealed type that it is about.
        advice: the error's message.
        index: the option that would answer it.
        on_plain: builds the operation of the plain type, for a dry run.
    """

    # Never in a cache: what is compiled raises, or is noted for each place.
    inherit_cache = False

    def __init__(
        self,
        left: Any,
        right: Any,
        operator: OperatorType,
        sealed: EncryptedType,
        advice: str,
        index: str | None,
        on_plain: OnPlain,
    ) -> None:
        super().__init__(left, right, operator, type_=RefusedType(self))
        self.sealed = sealed
        self.advice, self.index = advice, index
        self._on_plain = on_plain

    @property
    def is_dry(self) -> bool:
        """Whether it is of a dry run."""
        column = self.sealed.sealed_column
        return column is not None and column.dry_run is not None

    def error(self) -> UnsupportedOperation:
        """Return the error that it is."""
        return UnsupportedOperation(self.advice, self.index)

    def plain(self) -> Any:
        """Return the operation of the plain type."""
        return self._on_plain(_plain(self.left), _plain(self.right))


@compiles(RefusedOperation)
def _refuse(element: RefusedOperation, compiler: Any, **options: Any) -> Any:
    if element.is_dry:  # noted by hooks/unsupported
        return compiler.process(element.plain(), **options)
    raise element.error()


class RefusingComparator(TypeEngine.Comparator[Any]):
    """Builds refused operations, also in place of the methods of other types' comparators."""

    def advice(self, op: OperatorType) -> str:
        """Return why an operation is refused, and what to do."""
        raise NotImplementedError

    def sealed(self) -> EncryptedType:
        """Return the sealed type that it is about."""
        raise NotImplementedError

    def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation with the column on the right."""
        sql = _sql((other,))

        def on_plain(left: Any, right: Any) -> Any:
            return left.reverse_operate(op, other if sql is None else right, **kwargs)

        return self._refused(op, sql, on_plain)

    def refused(
        self,
        op: OperatorType,
        others: tuple[Any, ...],
        options: dict[str, Any],
        reason: str | None = None,
        value: Any = None,
    ) -> RefusedOperation:
        """Return an operation that is refused.

        Args:
            op: the operator.
            others: the other operands.
            options: of the operator, such as ``escape``.
            reason: why an index that answers such operations does not answer this one.
            value: the other operand as a parameter, where a statement may yet have an answer.
        """
        sql = _sql(others)
        right = sql if value is None else value

        def on_plain(left: Any, right: Any) -> Any:
            return left.operate(op, *(others if sql is None else (right, *others[1:])), **options)

        return self._refused(op, right, on_plain, None if reason else answer_to(op, others), reason)

    def __getattr__(self, name: str) -> Any:
        op: OperatorType = operators.custom_op(name)
        if name in _PROPERTIES:
            return self._refused(op, None, lambda left, _: getattr(left, name))
        if name in _METHODS:
            return lambda *args, **kwargs: self._refused(
                op, None, lambda left, _: getattr(left, name)(*args, **kwargs)
            )
        raise AttributeError(name)

    def _refused(
        self,
        op: OperatorType,
        right: Any,
        on_plain: OnPlain,
        index: str | None = None,
        reason: str | None = None,
    ) -> RefusedOperation:
        other, advice = null() if right is None else right, reason or self.advice(op)
        return RefusedOperation(self.expr, other, op, self.sealed(), advice, index, on_plain)


class RefusedComparator(RefusingComparator):
    """Makes whatever is done with a refused operation one that is refused for the same reason."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation that is refused."""
        return self.refused(op, other, kwargs)

    def advice(self, op: OperatorType) -> str:
        """Return why the operation itself is refused."""
        return self._operation.advice

    def sealed(self) -> EncryptedType:
        """Return the sealed type that it is about."""
        return self._operation.sealed

    @property
    def _operation(self) -> RefusedOperation:
        return self.type.operation  # type: ignore[attr-defined, no-any-return]


class RefusedType(NullType):
    """The type of a refused operation.

    Args:
        operation: the operation.
    """

    comparator_factory = RefusedComparator  # type: ignore[assignment]
    cache_ok = False

    def __init__(self, operation: RefusedOperation) -> None:
        self.operation = operation

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        """Return that of the plain type's operation, in a dry run."""
        if not self.operation.is_dry:
            return None
        given: TypeEngine[Any] = self.operation.plain().type
        return given.dialect_impl(dialect).result_processor(dialect, coltype)


def _plain(element: Any) -> Any:
    """Return an operand with its plain type."""
    if isinstance(element, Grouping):
        element = element.element
    if isinstance(element, RefusedOperation):
        return element.plain()
    plain = getattr(getattr(element, "type", None), "plain", None)
    return type_coerce(element, plain) if isinstance(plain, TypeEngine) else element


def _sql(others: tuple[Any, ...]) -> Any:
    """Return the SQL expression among operands; ``None`` for a value."""
    element: Any = others[0] if others else None
    if hasattr(element, "__clause_element__"):
        element = element.__clause_element__()
    return element if isinstance(element, ColumnElement) and not isinstance(element, BindParameter) else None
