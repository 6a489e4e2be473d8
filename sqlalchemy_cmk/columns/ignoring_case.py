"""Operators that compare what an index's normalizer makes of both sides, for ``column.iequals(x)``.

SQLAlchemy has such operators for what is in a text (``ilike_op``), and none for equality.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType


def iequals_op(column: Any, other: Any) -> Any:
    """``=``."""
    return _asked(column, iequals_op, operators.eq, other)


def not_iequals_op(column: Any, other: Any) -> Any:
    """``<>``."""
    return _asked(column, not_iequals_op, operators.ne, other)


def iin_op(column: Any, other: Any) -> Any:
    """``IN``."""
    return _asked(column, iin_op, operators.in_op, other)


def not_iin_op(column: Any, other: Any) -> Any:
    """``NOT IN``."""
    return _asked(column, not_iin_op, operators.not_in_op, other)


# The operator that each is between tokens.
BETWEEN_TOKENS: dict[Any, OperatorType] = {
    iequals_op: operators.eq,
    not_iequals_op: operators.ne,
    iin_op: operators.in_op,
    not_iin_op: operators.not_in_op,
}


def _asked(column: Any, ignoring: Any, plain: OperatorType, other: Any) -> Any:
    """Ask a sealed column's comparator; of a plain one, as in a dry run, ask what it is in lower case."""
    if hasattr(column, "iequals"):
        return column.operate(ignoring, other)
    return func.lower(column.expr).operate(plain, other)
