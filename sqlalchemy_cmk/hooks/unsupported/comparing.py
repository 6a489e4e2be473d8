"""Comparisons: both sides are deterministic and of one context, algorithm and kind of owner, or NULL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BindParameter, Tuple
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import CollectionAggregate, Grouping
from sqlalchemy.types import TupleType

from sqlalchemy_cmk.columns.answers import EQUAL
from sqlalchemy_cmk.columns.comparator import EQUALITY, MEMBERSHIP, no_equality
from sqlalchemy_cmk.columns.token_columns import TokenType
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.operands import (
    are_alike,
    flat,
    held,
    inner_of,
    is_null,
    is_random,
    sealed_type,
    selected_of,
    where,
)
from sqlalchemy_cmk.hooks.unsupported.refusals import refuse_comparison, refuse_plain, refuse_use

_NULL_TESTS = (operators.is_, operators.is_not)
COMPARISONS = (*EQUALITY, *MEMBERSHIP, *_NULL_TESTS)


def check_comparison(element: Any) -> None:
    """Refuse a binary expression that sealed values cannot answer."""
    left, right = element.left, element.right
    _check_tokens(left, right)
    sides = (part for one in _parts((left, right)) for part in (one, *(selected_of(one) or ())))
    sealed = next((type_ for one in sides if (type_ := held(one)) is not None), None)
    if sealed is None:
        return
    if element.operator not in COMPARISONS:
        refuse_use(element, sealed)
    if is_null(left) or is_null(right):
        return
    if element.operator in _NULL_TESTS:
        refuse_use(element, sealed)
    check_equal(element, left, right)


def _check_tokens(left: Any, right: Any) -> None:
    """Refuse to compare tokens with what is none: a plain column, or a parameter of another type."""
    parts = [part for one in _parts((left, right)) for part in selected_of(one) or (one,)]
    found = [getattr(one, "type", None) for one in parts if not is_null(one)]
    tokens = next((one for one in found if isinstance(one, TokenType)), None)
    if tokens is not None and not all(isinstance(one, TokenType) for one in found):
        where = "a search index" if tokens.token_index is None else tokens.token_index.sealed.where
        raise UnsupportedOperation(
            f"{where} is compared with something whose tokens cannot be made, such as a plain column: no row "
            "would be found: compare with the value itself, or with a column that has an equal index"
        )


def check_equal(element: Any, left: Any, right: Any) -> None:
    """Refuse two sides that are compared and could never be equal."""
    if isinstance(left, Tuple) or isinstance(right, Tuple):
        _check_tuples(element, left, right)
    else:
        _check_types(element, [_type(one) for one in _parts((left, right)) if not is_null(one)])


def _check_types(element: Any, types: list[EncryptedType | None]) -> None:
    sealed = [type_ for type_ in types if type_ is not None]
    if not sealed:
        return
    if len(sealed) < len(types):
        refuse_plain(element, sealed[0])
    for type_ in sealed:
        if is_random(type_) and all(is_random(one) for one in sealed):
            raise UnsupportedOperation(no_equality(where(type_)), EQUAL)
        if is_random(type_) or not are_alike(type_, sealed[0]):
            refuse_comparison(sealed[0], type_ if type_ is not sealed[0] else sealed[-1])


def _check_tuples(element: Any, left: Any, right: Any) -> None:
    """Compare the items of rows position by position."""
    sides = [*_rows(left), *_rows(right)]
    sealed = next((type_ for side in sides for type_ in side if type_ is not None), None)
    if sealed is None:
        return
    if len({len(side) for side in sides}) != 1:
        refuse_use(element, sealed)
    for position in zip(*sides, strict=True):
        _check_types(element, list(position))


def _rows(side: Any) -> Iterator[list[EncryptedType | None]]:
    for one in flat(side):
        if isinstance(one, Tuple):
            yield [_type(item) for item in one.clauses]
        elif isinstance(one, BindParameter) and isinstance(one.type, TupleType):
            yield [sealed_type(item) for item in one.type.types]
        elif (selected := selected_of(one)) is not None:
            yield [_type(item) for item in selected]
        else:
            yield [_type(one)]


def _parts(sides: Iterable[Any]) -> Iterator[Any]:
    """Return what is compared: the items of lists, and what ANY and ALL are of."""
    for side in sides:
        for one in flat(side):
            if isinstance(one, CollectionAggregate | Grouping):
                yield from _parts((inner_of(one),))
            else:
                yield one


def _type(element: Any) -> EncryptedType | None:
    """Return the type of a compared value; that of a subquery is its column's."""
    selected = selected_of(element)
    if selected is not None:
        return held(selected[0]) if len(selected) == 1 else None
    return held(element)
