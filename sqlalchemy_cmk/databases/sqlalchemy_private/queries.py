"""What the checks of unsupported SQL read of statements and of their compiled forms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Insert,
    Select,
    TextClause,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import elements
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import _label_reference, _textual_label_reference
from sqlalchemy.sql.lambdas import DeferredLambdaElement, LambdaElement, NullLambdaStatement
from sqlalchemy.sql.visitors import iterate

UPSERT_CLAUSES = (postgresql.dml.OnConflictClause, sqlite.dml.OnConflictClause, mysql.dml.OnDuplicateClause)
ARRAY_LITERAL = postgresql.array
ORDERED_ARGUMENT = postgresql.aggregate_order_by
LABEL_REFERENCE = _label_reference
NAME_REFERENCE = _textual_label_reference
OVERRIDE_BINDS = getattr(elements, "_OverrideBinds", None)
# Since SQLAlchemy 2.1.
ORDER_BY_LIST = getattr(elements, "OrderByList", None)
_LAMBDAS = (LambdaElement, NullLambdaStatement)
DISTINCT_ON = getattr(postgresql.ext, "DistinctOnClause", None)
AGGREGATE_ORDER_BY = getattr(elements, "AggregateOrderBy", None)


def insert_names(statement: Insert) -> Sequence[Any]:
    """Return the columns, or their names, into which an INSERT puts the columns of its SELECT."""
    return tuple(statement._select_names or ())


def ordering(statement: Any) -> Sequence[Any]:
    """Return the ORDER BY elements of a SELECT or UNION, names as they were given."""
    return tuple(statement._order_by_clauses)


def grouping(statement: Any) -> Sequence[Any]:
    """Return the GROUP BY elements of a SELECT or UNION, names as they were given."""
    return tuple(statement._group_by_clauses)


def having(statement: Any) -> Sequence[Any]:
    """Return the conditions of a SELECT's HAVING."""
    return tuple(statement._having_criteria)


def limits(statement: Any) -> tuple[Any, Any]:
    """Return what the LIMIT or FETCH FIRST of a SELECT is, and its OFFSET; ``None`` if it has none.

    A FETCH FIRST of a percentage, or with ties, is given as ``False``: it does not say how many rows.
    """
    limit = statement._limit_clause
    if statement._fetch_clause is not None:
        limit = False if any(statement._fetch_clause_options.values()) else statement._fetch_clause
    return limit, statement._offset_clause


def correlates_by_itself(select: Any) -> bool:
    """Return whether a SELECT takes FROMs from the one around it, without having been told which."""
    return bool(select._auto_correlate)


def is_aggregated(select: Any) -> bool:
    """Return whether a SELECT has groups, is cut or locks rows, so that an aggregate is not all of it."""
    parts = (
        *(select._group_by_clauses, select._having_criteria, select._distinct, select._distinct_on),
        *(select._limit_clause is not None, select._offset_clause is not None),
        *(select._fetch_clause is not None, select._for_update_arg is not None),
    )
    return any(parts)


def compiled_select(compiled: Any) -> Select[Any] | None:
    """Return the SELECT that is compiled for one of the ORM or a lambda; ``None`` for other statements."""
    statement = getattr(getattr(compiled, "compile_state", None), "statement", None)
    return statement if isinstance(statement, Select) else None


def compiled_columns(compiled: Any) -> Sequence[Any]:
    """Return the columns that a compiled SELECT gives, each with its key, name, objects and type."""
    return tuple(compiled._result_columns)


def distinct_on(statement: Any) -> Sequence[Any]:
    """Return the DISTINCT ON elements of a SELECT or of its clause, names as they were given."""
    return tuple(getattr(statement, "_distinct_on", ()))


def is_distinct(statement: Select[Any]) -> bool:
    """Return whether a SELECT is one of distinct rows, not of one row for each of some values."""
    clause = getattr(statement, "_pre_columns_clause", None)  # since SQLAlchemy 2.1
    on = clause is not None and any(type(one) is DISTINCT_ON for one in iterate(clause))
    return bool(statement._distinct) and not statement._distinct_on and not on


def raw_columns(statement: Any) -> Sequence[Any]:
    """Return what a SELECT selects as it was given: columns, tables and text."""
    return tuple(getattr(statement, "_raw_columns", ()))


def returned(statement: Any) -> Sequence[Any]:
    """Return the columns that an INSERT, UPDATE or DELETE returns, those that SQLAlchemy adds included."""
    added = getattr(statement, "_supplemental_returning", None)
    defaults = getattr(statement, "_return_defaults_columns", None)
    return (*statement._returning, *(added or ()), *(defaults or ()))


def resolved(element: Any) -> Any:
    """Return what a lambda gives with the values that its variables have now; what is no lambda as it is.

    It may give several conditions. Conditions of ``with_loader_criteria`` are left as they are: their lambdas
    are given the model when they are compiled.
    """
    if isinstance(element, DeferredLambdaElement) or not isinstance(element, _LAMBDAS):
        return element
    return element._resolved


def text_of(element: Any) -> str | None:
    """Return the text of a name in an ORDER BY, of SQL text or a literal column; ``None`` for others."""
    if isinstance(element, _textual_label_reference):
        return str(element.element)
    if isinstance(element, TextClause):
        return str(element.text)
    return str(element.name) if getattr(element, "is_literal", False) is True else None


def is_rewritten(element: Any) -> bool:
    """Return whether SQLAlchemy compiles another statement in place of this one, as it does for the ORM."""
    return bool(
        getattr(element, "_propagate_attrs", {}).get("compile_state_plugin") == "orm"
        or getattr(element, "_setup_joins", ())
    ) and not isinstance(element, ColumnElement | FromClause)


def whole_statements(compiled: Any) -> list[Any]:
    """Return the statement of a compiled one, and those that SQLAlchemy has made of it."""
    states = [getattr(compiled, name, None) for name in ("compile_state", "dml_compile_state")]
    return [compiled.statement, *(state.statement for state in states if state is not None)]


def core_statements(compiled: Any) -> list[Any]:
    """Return the SELECTs and joins that are compiled in place of those of a statement.

    The statement is compiled once more, by a compiler that notes them.
    """
    if not isinstance(compiled, SQLCompiler):
        return []
    found: list[Any] = []
    _noting(type(compiled))(  # type: ignore[arg-type]
        compiled.dialect,
        compiled.statement,
        found=found,
        column_keys=compiled.column_keys,
        for_executemany=compiled.for_executemany,
        schema_translate_map=compiled.schema_translate_map,
    )
    return found


@cache
def _noting(compiler: type[SQLCompiler]) -> Any:
    """Return a database's compiler that notes the SELECTs and joins which it compiles."""

    class Noting(compiler):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, found: list[Any], **kw: Any) -> None:
            self.found = found
            super().__init__(*args, **kw)

        def get_select_precolumns(self, select: Any, **kw: Any) -> Any:
            self.found.append(select)
            return super().get_select_precolumns(select, **kw)

        def visit_join(self, join: Any, *args: Any, **kw: Any) -> Any:
            self.found.append(join)
            return super().visit_join(join, *args, **kw)

    return Noting
