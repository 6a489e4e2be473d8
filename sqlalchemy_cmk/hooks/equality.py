"""What the WHERE clause of a statement pins with ``column == value`` at its top level.

Only an AND of such comparisons is certain: nothing is taken from an OR, a function or a subquery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Label, ScalarSelect, Select, Table
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Grouping

from sqlalchemy_cmk.columns.tenants import TenantSource
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import TenantMismatch
from sqlalchemy_cmk.hooks.values import MISSING, Row, known_value


def equalities(criteria: Any) -> Iterator[tuple[Any, BindParameter[Any]]]:
    """Return the columns and the parameters that a WHERE clause compares at its top level."""
    if isinstance(criteria, Grouping):
        yield from equalities(criteria.element)
    elif isinstance(criteria, BooleanClauseList):
        if criteria.operator is operators.and_:
            for part in criteria.clauses:
                yield from equalities(part)
    elif isinstance(criteria, BinaryExpression) and criteria.operator is operators.eq:
        left, right = criteria.left, criteria.right
        if isinstance(left, BindParameter):
            left, right = right, left
        if isinstance(right, BindParameter) and not right.expanding and hasattr(left, "base_columns"):
            yield left, right


def pinned(criteria: Any, table: Table) -> dict[str, BindParameter[Any]]:
    """Return the parameters that a WHERE clause compares a table's columns with, by the column's key."""
    # The ORM's annotated copy of a table has its hash; an alias, whose rows are others, has not.
    return {
        str(column.key): bind
        for column, bind in equalities(criteria)
        if hash(getattr(column, "table", None)) == hash(table)
    }


def named_tenant(criteria: Any, source: TenantSource, rows: list[Row]) -> str | None:
    """Return the tenant that a WHERE clause names, the same for all rows of parameters; ``None`` if none.

    Raises:
        TenantMismatch: it names several.
    """
    held = [
        known_value(bind, row)
        for column, bind in equalities(criteria)
        if source.column in column.base_columns
        for row in rows
    ]
    return _only(source, held)


@dataclass(frozen=True, slots=True)
class Named:
    """A comparison of a compiled statement: the column's FROM and origins, and the parameter's name."""

    table: Any
    columns: Any
    parameter: str


_compiled: WeakKeyDictionary[Compiled, tuple[Named, ...]] = WeakKeyDictionary()


def compiled_equalities(compiled: Compiled) -> tuple[Named, ...]:
    """Return what a compiled statement compares with one value at the top level of its WHERE clause."""
    found = _compiled.get(compiled)
    if found is None:
        criteria = _criteria(compiled.statement)
        found = _compiled[compiled] = tuple(
            Named(column.table, column.base_columns, name)
            for column, bind in equalities(criteria)
            if (name := private.parameter_name(compiled, bind)) is not None
            and getattr(column, "table", None) is not None
        )
    return found


def lone_subquery(statement: Any) -> Select[Any] | None:
    """Return the SELECT inside a statement that gives one scalar subquery and nothing else."""
    columns = private.raw_columns(statement) if isinstance(statement, Select) else ()
    if len(columns) != 1 or statement.whereclause is not None:
        return None
    only = columns[0].element if isinstance(columns[0], Label) else columns[0]
    inner = only.element if isinstance(only, ScalarSelect) else None
    return inner if isinstance(inner, Select) and not statement.get_final_froms() else None


def _criteria(statement: Any) -> Any:
    """Return the WHERE clause that says whose rows a statement gives."""
    inner = lone_subquery(statement)
    return getattr(statement if inner is None else inner, "whereclause", None)


def statement_tenant(context: Any, source: TenantSource, table: Any = None, row: int = 0) -> str | None:
    """Return the tenant that an execution's WHERE clause names; ``None`` if it names none.

    Args:
        context: SQLAlchemy's execution context.
        source: where rows tell their tenant.
        table: the FROM whose rows it has to name; ``None`` for any FROM of the source.
        row: which of the execution's parameter sets.

    Raises:
        TenantMismatch: it names several.
    """
    held = [
        private.parameter_value(context, one.parameter, row)
        for one in compiled_equalities(context.compiled)
        if source.column in one.columns and (table is None or hash(one.table) == hash(table))
    ]
    return _only(source, held)


def rows_tenant(context: Any, source: TenantSource, origin: Any) -> str | None:
    """Return the tenant that an execution's WHERE clause names for the rows of a FROM.

    Args:
        context: SQLAlchemy's execution context.
        source: where rows tell their tenant.
        origin: the FROM of a result column; ``None`` if it is not seen, as that of a subquery's value.

    Raises:
        TenantMismatch: it names several.
    """
    if origin is None:
        inner = lone_subquery(context.compiled.statement)
        origin = None if inner is None else getattr(next(iter(inner.selected_columns)), "table", None)
    return None if origin is None else statement_tenant(context, source, origin)


def _only(source: TenantSource, held: list[Any]) -> str | None:
    names = {source.name(value) for value in held if value is not MISSING and value is not None}
    if len(names) > 1:
        raise TenantMismatch(
            f"{source.table.fullname}: the WHERE clause names several tenants: run a statement for each"
        )
    return names.pop() if names else None
