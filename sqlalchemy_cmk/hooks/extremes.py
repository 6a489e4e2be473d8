"""``min`` and ``max`` of a column whose index keeps its order: the first row's value in that order.

The bytes of a sealed value have no order, and a token cannot be opened. So ``SELECT min(c) ...`` becomes
``SELECT (SELECT c ... WHERE c IS NOT NULL ORDER BY token LIMIT 1)``, which gives NULL where there is no row,
as ``min`` does. Where it stands beside something else it is refused.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Label, Select, select
from sqlalchemy.sql import operators
from sqlalchemy.sql.functions import Function, FunctionElement

from sqlalchemy_cmk.columns.refused import RefusedOperation
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private

_DIRECTIONS = {"min": operators.asc_op, "max": operators.desc_op}


def extreme(statement: Select[Any]) -> Select[Any]:
    """Return a SELECT of one ``min`` or ``max`` in a form that an index answers; or the statement itself."""
    columns = private.raw_columns(statement)
    if len(columns) != 1:
        return statement
    asked = columns[0].element if isinstance(columns[0], Label) else columns[0]
    if not isinstance(asked, FunctionElement) or not isinstance(asked.type, EncryptedType):
        return statement
    direction = _DIRECTIONS.get(str(getattr(asked, "name", "")).lower())
    operands = list(asked.clauses)
    if direction is None or len(operands) != 1 or (isinstance(asked, Function) and asked.packagenames):
        return statement
    column: Any = operands[0]
    sealed = column.type.sealed_column if isinstance(column.type, EncryptedType) else None
    if sealed is None or sealed.dry_run is not None or private.is_aggregated(statement):
        return statement
    order = column.operate(direction)
    if isinstance(order, RefusedOperation):
        return statement
    first = statement.with_only_columns(column, maintain_column_froms=True)
    first = first.where(column.is_not(None)).order_by(None).order_by(order).limit(1)
    if private.correlates_by_itself(statement):
        # By itself it would take FROMs of the SELECT around it only, which is this one now and has none.
        first = first.correlate_except(column.table)
    name = columns[0].name if isinstance(columns[0], Label) else f"{asked.name}_1"
    return select(first.scalar_subquery().label(name))
