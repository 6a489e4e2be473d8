"""What may be asked of a sealed column in SQL. What sealed bytes cannot answer is refused when compiled.

What an expression stands beside, only the whole statement shows: ``hooks/unsupported`` checks that before it
is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, ColumnElement, Null, literal, type_coerce
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import Indexable, TypeDecorator

from sqlalchemy_cmk.columns.answers import called
from sqlalchemy_cmk.columns.asking import answer_by_index, as_parameter
from sqlalchemy_cmk.columns.compounds import COMBINED, answered_together, compounds_of
from sqlalchemy_cmk.columns.ignoring_case import iequals_op
from sqlalchemy_cmk.columns.refused import RefusingComparator
from sqlalchemy_cmk.errors import UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType

_NULL_TESTS = (operators.is_, operators.is_not)
EQUALITY = (operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from)
MEMBERSHIP = (operators.in_op, operators.not_in_op)
_WRAPPING = (operators.distinct_op, operators.any_op, operators.all_op)


class SealedComparator(RefusingComparator, TypeDecorator.Comparator[Any]):
    """Builds what sealed values may answer; anything else is a :class:`RefusedOperation`."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        """Build an operation on the column."""
        sealed: EncryptedType = self.type  # type: ignore[assignment]
        if op is operators.getitem and not isinstance(sealed.plain, Indexable):
            # At once, as SQLAlchemy does: a loop over the column would build one after the other without end.
            raise UnsupportedOperation(self.advice(op))
        if not _answers(sealed, op, other):
            answer, reason = answer_by_index(self.expr, sealed, op, other, kwargs)
            if answer is not None:
                return answer
            compounds = compounds_of(sealed) if op in COMBINED else ()
            if compounds:
                reason = reason or answered_together(compounds)
            value = _parameter(other[0], sealed) if compounds else None
            return self.refused(op, other, kwargs, reason, value)
        if other and isinstance(other[0], bool):
            # SQLAlchemy would compare with the constant "true", which is equal to no sealed value.
            other = (literal(other[0], sealed), *other[1:])
        return super().operate(op, *other, **kwargs)

    def iequals(self, other: Any) -> ColumnElement[Any]:
        """Build ``=`` of what the normalizer of an index makes of both sides: ``Exact(normalize=fold)``."""
        return self.operate(iequals_op, other)  # type: ignore[arg-type]

    def advice(self, op: OperatorType) -> str:
        """Return why an operation is refused, and what to do."""
        sealed: EncryptedType = self.type  # type: ignore[assignment]
        return _advice(sealed, str(getattr(self.expr, "name", None) or "an expression"), op)

    def sealed(self) -> EncryptedType:
        """Return the sealed type that it is about."""
        return self.type  # type: ignore[return-value]


def _parameter(operand: Any, sealed: EncryptedType) -> Any:
    """Return an operand as one parameter of a sealed type; ``None`` if it is none."""
    found = as_parameter(operand, sealed)
    if isinstance(found, list):
        return None
    # A variable of a lambda has no type, and another parameter is put in the place of the one that it is now.
    return found if found is None or isinstance(found, ClauseElement) else type_coerce(found, sealed)


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


def _advice(sealed: EncryptedType, where: str, op: OperatorType) -> str:
    if op in EQUALITY or op in MEMBERSHIP:
        return no_equality(where)
    answers = (
        "a deterministic column answers ==, !=, in_, is_, joins, distinct and group_by only"
        if sealed.scheme.deterministic
        else "only is_(None) and is_not(None) do"
    )
    return (
        f"{where} is sealed: {called(op)} has no meaning on its stored bytes; {answers}; "
        "load the rows and sort, search or compute in Python"
    )
