"""What a table has its database compute: expressions in indexes, CHECK constraints and computed columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    CheckConstraint,
    Column,
    ColumnClause,
    Index,
    Null,
    Table,
    TextClause,
    text,
)
from sqlalchemy.sql import operators

from sqlalchemy_cmk.columns.column import SealedColumn

# "postgresql_where" and the like: the condition of a partial index.
_WHERE = "_where"
_NULL_TEST = re.compile(r"""["`\[]?\w+["`\]]?\s+IS\s+(NOT\s+)?NULL\b""", re.IGNORECASE)
_LITERAL = re.compile(r"'(?:[^']|'')*'")

_INDEX_COLUMN = "index the column itself, declared EncryptedType(..., deterministic=True)"
_CHECK_IN_PYTHON = (
    "drop it and check the value in Python, in @validates or in the type of the values; IS NULL and IS NOT "
    "NULL may stay"
)
_COMPUTE_IN_PYTHON = "drop it and compute the value in Python, in a property or in a sealed column of its own"
_NULL_CONDITION = "only IS NULL and IS NOT NULL may stand there"


def expressions_of(table: Table) -> Iterator[tuple[str, str, Any]]:
    """Yield each expression that the database computes, what it is of and what to do in its place."""
    for index in table.indexes:
        for expression in index.expressions:
            if not isinstance(expression, Column):
                yield f"the index {index.name}", _INDEX_COLUMN, expression
        for condition in _conditions(index):
            yield f"the condition of the index {index.name}", _NULL_CONDITION, condition
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            name = f"the CHECK constraint {constraint.name}" if constraint.name else "a CHECK constraint"
            yield name, _CHECK_IN_PYTHON, constraint.sqltext
    for column in table.columns:
        if column.computed is not None:
            yield f"the computed column {column.name}", _COMPUTE_IN_PYTHON, column.computed.sqltext


def _conditions(index: Index) -> Iterator[Any]:
    for name, value in index.dialect_kwargs.items():
        if name.endswith(_WHERE) and value is not None:
            yield text(value) if isinstance(value, str) else value


def named_in(expression: Any, sealed: Iterable[SealedColumn]) -> Iterator[SealedColumn]:
    """Yield the sealed columns that an expression computes with, also those that SQL text names."""
    names: set[str] = set()
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, BinaryExpression) and _is_null_test(part):
            continue
        if isinstance(part, TextClause):
            names |= _names(part.text)
        elif isinstance(part, ColumnClause):
            names |= _names(part.name) if part.is_literal else {part.name}
        waiting.extend(part.get_children())
    return (one for one in sealed if one.column.name in names)


def _is_null_test(part: BinaryExpression[Any]) -> bool:
    return part.operator in (operators.is_, operators.is_not) and isinstance(part.right, Null)


def _names(sql: str) -> set[str]:
    return set(re.findall(r"\w+", _NULL_TEST.sub(" ", _LITERAL.sub(" ", sql))))
