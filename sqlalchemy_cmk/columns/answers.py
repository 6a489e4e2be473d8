"""Which option of a sealed column would answer what its stored bytes cannot.

Equality is answered by deterministic columns, and all that is named here by search indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter
from sqlalchemy.sql import operators

EQUAL = "deterministic=True"
ORDER = "index=[Ordered(lowest, highest)] (it gives away the order of all values)"
_EXACT = "index=[Exact(normalize=fold)], asked by column.iequals(value)"
_PREFIX = "index=[Prefix()]"
_SUFFIX = "index=[Suffix()]"
_PART = "index=[NGram(3)]"
_PATTERN = "index=[Prefix()], [Suffix()] or [NGram(3)], by where the % stands"
_RANGE = "index=[Range(lowest, highest)]"

_SIGNS = {
    **{
        "lt": "<",
        "le": "<=",
        "gt": ">",
        "ge": ">=",
        "eq": "=",
        "ne": "<>",
        "getitem": "[]",
        "concat_op": "||",
    },
    **{"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "neg": "-"},
}

_LIKE = (operators.like_op, operators.not_like_op, operators.ilike_op, operators.not_ilike_op)
_BY_NAME = {
    **dict.fromkeys(("eq", "ne", "in_op", "not_in_op", "is_distinct_from", "is_not_distinct_from"), EQUAL),
    **dict.fromkeys(("startswith_op", "not_startswith_op", "istartswith_op", "not_istartswith_op"), _PREFIX),
    **dict.fromkeys(("endswith_op", "not_endswith_op", "iendswith_op", "not_iendswith_op"), _SUFFIX),
    **dict.fromkeys(("contains_op", "not_contains_op", "icontains_op", "not_icontains_op"), _PART),
    **dict.fromkeys(("lt", "le", "gt", "ge", "between_op", "not_between_op"), _RANGE),
    **dict.fromkeys(("asc_op", "desc_op", "nulls_first_op", "nulls_last_op", "min", "max"), ORDER),
    **dict.fromkeys(("lower", "upper", "iequals_op", "not_iequals_op", "iin_op", "not_iin_op"), _EXACT),
}


def called(operator: Any) -> str:
    """Return what SQL calls an operator of SQLAlchemy: ``LIKE`` for ``like_op``."""
    name = getattr(operator, "__name__", None)
    if name is None:
        return str(getattr(operator, "opstring", None) or operator)
    return _SIGNS.get(name) or name.removesuffix("_op").strip("_").replace("_", " ").upper()


def answer_to(asked: Any, operands: Sequence[Any] = ()) -> str | None:
    """Return the option that would answer an operation; ``None`` if none does.

    Args:
        asked: an operator of SQLAlchemy, or the name of a SQL function.
        operands: what stands beside the column, as far as it is known.
    """
    if asked in _LIKE:
        return _answer_to_pattern(operands)
    return _BY_NAME.get(asked if isinstance(asked, str) else getattr(asked, "__name__", ""))


def _answer_to_pattern(operands: Sequence[Any]) -> str:
    pattern = operands[0] if operands else None
    if isinstance(pattern, BindParameter):
        pattern = pattern.effective_value
    if not isinstance(pattern, str):
        return _PATTERN
    starts, ends = pattern.startswith("%"), pattern.endswith("%")
    if not pattern.strip("%").count("%"):
        if not (starts or ends):
            return _EXACT
        if starts != ends:
            return _SUFFIX if starts else _PREFIX
    return _PART
