"""The kinds of elements that may have sealed expressions as operands, and what each may do with them.

A kind that is not listed here may not: also one that a later release of SQLAlchemy brings, or an application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Case,
    Cast,
    ClauseList,
    ColumnElement,
    CompoundSelect,
    Delete,
    Exists,
    FunctionFilter,
    Insert,
    Label,
    Over,
    ScalarSelect,
    Select,
    TableClause,
    TextClause,
    TextualSelect,
    Tuple,
    TypeCoerce,
    UnaryExpression,
    Update,
    WithinGroup,
)
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.elements import CollectionAggregate, Grouping, TypeClause
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, ForUpdateArg, TableValuedAlias

from sqlalchemy_cmk.columns.refused import RefusedOperation
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.unsupported.check import Check
from sqlalchemy_cmk.hooks.unsupported.comparing import COMPARISONS
from sqlalchemy_cmk.hooks.unsupported.operands import (
    flat,
    held,
    is_list,
    kind_of,
    plain_reading,
    untyped_choice,
)
from sqlalchemy_cmk.hooks.unsupported.parts import children
from sqlalchemy_cmk.hooks.unsupported.refusals import (
    refuse_type,
    refuse_use,
)

Rule = Callable[[Check, Any], None]

# By the element's own class: a subclass may compile to anything.
RULES: dict[Any, Rule] = {
    ClauseList: Check.any_operand,
    private.ORDER_BY_LIST: Check.any_operand,
    private.LABEL_REFERENCE: Check.any_operand,
    private.NAME_REFERENCE: Check.any_operand,
    private.OVERRIDE_BINDS: Check.same,
    TypeClause: Check.any_operand,
    ForUpdateArg: Check.any_operand,
    private.DISTINCT_ON: Check.any_operand,
    TextualSelect: Check.any_operand,
    CollectionAggregate: Check.any_operand,
    Exists: Check.any_operand,
    ScalarSelect: Check.same,
    Label: Check.same,
    Grouping: Check.same,
    BooleanClauseList: Check.condition,
    BinaryExpression: Check.comparison,
    RefusedOperation: Check.refused,
    UnaryExpression: Check.unary,
    Over: Check.window,
    WithinGroup: Check.window,
    private.ORDERED_ARGUMENT: Check.window,
    private.AGGREGATE_ORDER_BY: Check.window,
    FunctionFilter: Check.filtered,
    Tuple: Check.tuple,
    Case: Check.case,
    private.ARRAY_LITERAL: Check.array,
    Cast: Check.conversion,
    TypeCoerce: Check.conversion,
    TextClause: Check.text,
}

# Statements and FROMs may be of an application's own classes, whose parts are known all the same.
FAMILIES: tuple[tuple[Any, Rule], ...] = (
    (Select | CompoundSelect | Insert | Update | Delete, Check.statements),
    (BindParameter | ColumnClause | TableClause, Check.any_operand),
    (private.UPSERT_CLAUSES, Check.any_operand),
    (FunctionElement, Check.function),
    (TableValuedAlias, Check.whole_rows),
    (AliasedReturnsRows, Check.any_operand),
    (ExecutableDDLElement, Check.copied_table),
)


def rule_of(element: Any) -> Rule | None:
    """Return what looks at an element of its kind; ``None`` if the kind is not known."""
    rule = RULES.get(kind_of(element))
    if rule is None:
        rule = next((found for family, found in FAMILIES if isinstance(element, family)), None)
    if rule is None and is_list(element):
        return Check.any_operand
    if rule is None and hasattr(element, "scalar_alias"):
        return Check.whole_rows
    return rule


def check_element(check: Check, element: Any) -> None:
    """Refuse an element that misuses a sealed operand.

    Raises:
        UnsupportedOperation: it does, or is of a kind that is not known.
    """
    operands = [part for child in children(element) for part in flat(child)]
    if not is_list(element):
        _refuse_untyped(element, operands)
    rule = rule_of(element)
    if rule is not None:
        rule(check, element)
        return
    given = element if isinstance(element, ColumnElement) else None
    for one in (given, *operands):
        sealed = held(one)
        if sealed is not None:
            refuse_use(element, sealed)


def _refuse_untyped(element: Any, operands: list[Any]) -> None:
    """Refuse operands that hold sealed bytes under a type that does not say so, but where they may be."""
    is_comparison = kind_of(element) is BinaryExpression and element.operator in COMPARISONS
    for one in operands:
        sealed = plain_reading(one)
        if sealed is not None and not is_comparison:
            refuse_type(one, sealed)
        sealed = untyped_choice(one)
        if sealed is not None and not (isinstance(element, Cast | TypeCoerce) and held(element) is not None):
            refuse_type(one, sealed)
