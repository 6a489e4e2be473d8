"""What the parts of a statement hold: sealed values and of which kind, NULL, or something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BindParameter,
    Case,
    Cast,
    ClauseElement,
    ClauseList,
    Label,
    ScalarSelect,
    SelectBase,
    TypeCoerce,
    UnaryExpression,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.annotation import Annotated
from sqlalchemy.sql.elements import ExpressionClauseList, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import comma_op
from sqlalchemy.sql.selectable import SelectStatementGrouping
from sqlalchemy.types import ARRAY, NullType, TupleType, TypeDecorator

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.comparator import is_null as is_null_constant
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.comparing import is_binary

# Functions that give one of their arguments.
CHOOSING = ("coalesce", "ifnull", "isnull", "nvl", "nullif")

_ORDERS = (operators.desc_op, operators.asc_op, operators.nulls_first_op, operators.nulls_last_op)


def kind_of(element: Any) -> type[Any]:
    """Return an element's own class: the ORM's annotated copies are of classes made for them."""
    kinds = type(element).__mro__
    return next((one for one in kinds if not issubclass(one, Annotated)), type(element))


def sealed_type(type_: Any) -> EncryptedType | None:
    """Return the sealed type that a type is or holds: in an array, a tuple or another type."""
    if isinstance(type_, EncryptedType):
        return type_
    if isinstance(type_, ARRAY):
        return sealed_type(type_.item_type)
    if isinstance(type_, TupleType):
        return next((found for one in type_.types if (found := sealed_type(one))), None)
    if isinstance(type_, TypeDecorator):
        return sealed_type(type_.impl_instance)
    return None


def held(element: Any) -> EncryptedType | None:
    """Return the sealed type of what an element gives; ``None`` if it gives no sealed values."""
    return sealed_type(getattr(element, "type", None)) if isinstance(element, ClauseElement) else None


def is_sealed(element: Any) -> bool:
    """Return whether an element gives one sealed value."""
    return isinstance(element, ClauseElement) and isinstance(getattr(element, "type", None), EncryptedType)


def is_random(type_: EncryptedType) -> bool:
    """Return whether equal values of a type are sealed to unlike bytes."""
    return not type_.scheme.deterministic


def is_row_bound(type_: EncryptedType) -> bool:
    """Return whether values of a type open with their row only."""
    return type_.scheme.row_bound


def keeps_bytes(type_: Any) -> bool:
    """Return whether a type gives stored bytes as they are."""
    return not isinstance(type_, EncryptedType) and (isinstance(type_, NullType) or is_binary(type_))


def is_null(element: Any) -> bool:
    """Return whether an element is NULL, of whatever type."""
    while isinstance(element, Label | Grouping | Cast | TypeCoerce):
        element = inner_of(element)
    return is_null_constant(element)


def where(type_: EncryptedType) -> str:
    """Return ``table.column`` of a sealed type, for messages."""
    return type_.sealed_column.where if type_.sealed_column is not None else "a value of a sealed type"


def are_alike(one: EncryptedType, other: EncryptedType) -> bool:
    """Return whether values of two types open alike: of one context, algorithm and kind of owner."""
    ours, theirs = one.sealed_column, other.sealed_column
    if ours is None or theirs is None:
        return one is other
    return ours is theirs or _kind(ours) == _kind(theirs)


def _kind(column: SealedColumn) -> tuple[Any, ...]:
    scheme = column.scheme
    return column.context, scheme.suite, column.is_tenants, scheme.row_bound


def alternatives(elements: Iterable[Any]) -> Iterator[Any]:
    """Return the operands of which one stands for another: lists opened, NULLs left out."""
    for element in elements:
        yield from (one for one in flat(element) if not is_null(one))


def flat(element: Any) -> Iterator[Any]:
    """Return an operand; in place of a list, its elements."""
    if is_list(element):
        for one in element.clauses:
            yield from flat(one)
    elif isinstance(element, Grouping) and is_list(element.element):
        yield from flat(element.element)
    elif element is not None:
        yield element


def plain_reading(element: Any) -> EncryptedType | None:
    """Return the sealed type of a column that is read by a plain type, while it is adopted; or ``None``.

    Only a comparison may do so: it finds the rows that are not sealed yet.
    """
    if isinstance(element, TypeCoerce) and held(element) is None and not keeps_bytes(element.type):
        type_ = held(element.clause)
        return type_ if type_ is not None and is_sealed(element.clause) else None
    return None


def untyped_choice(element: Any) -> EncryptedType | None:
    """Return the type of the sealed values that an element gives without a type of its own; or ``None``.

    Only a type_coerce or cast may be around it: nothing else knows that the values are sealed.
    """
    if not isinstance(getattr(element, "type", None), NullType):
        return None
    if isinstance(element, Case):
        given = [*(result for _, result in element.whens), element.else_]
    elif isinstance(element, FunctionElement) and str(element.name).lower() in CHOOSING:
        given = list(element.clauses)
    else:
        return None
    return next((type_ for one in given for part in flat(one) if (type_ := held(part)) is not None), None)


def is_list(element: Any) -> bool:
    """Return whether an element is nothing but a list of others, whose meaning its parent knows."""
    kind = kind_of(element)
    if kind is ExpressionClauseList:
        return element.operator is comma_op
    return kind is ClauseList or kind is private.ORDER_BY_LIST


def unwrapped(element: Any) -> Any:
    """Return what an element of ORDER BY, GROUP BY or DISTINCT stands for.

    That is the expression without labels, directions and changes of its type.
    """
    while True:
        ordered = isinstance(element, UnaryExpression) and element.modifier in _ORDERS
        wraps = ordered or isinstance(element, Label | Grouping | TypeCoerce | Cast)
        if not wraps and kind_of(element) is not private.LABEL_REFERENCE:
            return element
        element = inner_of(element)


def inner_of(element: Any) -> Any:
    """Return what a label, a cast or another element of one operand is of."""
    return element.clause if isinstance(element, Cast | TypeCoerce) else element.element


def selected_of(element: Any) -> list[Any] | None:
    """Return the columns of a SELECT or UNION, also in brackets or as a scalar; else ``None``."""
    while isinstance(element, ScalarSelect | SelectStatementGrouping | Grouping):
        element = element.element
    return list(element.selected_columns) if isinstance(element, SelectBase) else None


def is_plain_parameter(element: Any) -> bool:
    """Return whether an element is a parameter that is sent as it is."""
    return isinstance(element, BindParameter) and held(element) is None
