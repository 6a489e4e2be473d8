"""The errors of refused statements: what is wrong, and what to do. They name columns, never a value."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy.sql.functions import FunctionElement

from sqlalchemy_cmk.columns.answers import EQUAL, ORDER, answer_to, called
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.operands import kind_of, where


def title(element: Any) -> str:
    """Return what to call an element in a message."""
    name = getattr(element, "name", None) if isinstance(element, FunctionElement) else None
    if name is not None:
        return f"{name}()"
    operator = getattr(element, "operator", None)
    return kind_of(element).__name__ if operator is None else called(operator)


def _index_for(element: Any) -> str | None:
    """Return the option that would answer an element, by its operator or the function's name."""
    operator = getattr(element, "operator", None)
    if isinstance(element, FunctionElement) or operator is None:
        return answer_to(str(getattr(element, "name", "")).lower())
    return answer_to(operator, (getattr(element, "right", None),))


def refuse_use(element: Any, type_: EncryptedType) -> NoReturn:
    """Refuse an element that has no meaning on sealed bytes."""
    raise UnsupportedOperation(
        f"{title(element)} of {where(type_)} has no meaning on sealed bytes: load the rows and compute in "
        "Python; type_coerce(column, LargeBinary) is the stored bytes themselves",
        _index_for(element),
    )


def refuse_extreme(name: str, type_: EncryptedType) -> NoReturn:
    """Refuse ``min`` or ``max``."""
    raise UnsupportedOperation(
        f"{name}() of {where(type_)}: with index=[Ordered(...)] a SELECT of it alone is answered, without "
        "GROUP BY; elsewhere, order by the column and take the first row, or compute in Python",
        ORDER,
    )


def refuse_order(type_: EncryptedType) -> NoReturn:
    """Refuse an ORDER BY."""
    raise UnsupportedOperation(
        f"ORDER BY {where(type_)}: sealed bytes have no useful order: sort the loaded rows in Python; "
        "with index=[Ordered(...)], write column.asc() or column.desc()",
        ORDER,
    )


def refuse_grouping(what: str, type_: EncryptedType) -> NoReturn:
    """Refuse what asks which of a randomized column's values are equal."""
    raise UnsupportedOperation(
        f"{what} over {where(type_)}: it is sealed with a random nonce, no two values are equal: declare it "
        "EncryptedType(..., deterministic=True), or select the primary key too",
        EQUAL,
    )


def refuse_plain(element: Any, type_: EncryptedType) -> NoReturn:
    """Refuse a plain value or expression where a sealed one stands."""
    raise UnsupportedOperation(
        f"{title(element)} puts something plain beside the sealed column {where(type_)}: no stored value is "
        "equal to it, and a value would be sent in plain text: compare the column itself with the value, or "
        'with bindparam("name", type_=Model.column.type), or choose in Python'
    )


def refuse_comparison(one: EncryptedType, other: EncryptedType) -> NoReturn:
    """Refuse a comparison that could never be true."""
    raise UnsupportedOperation(
        f"{where(one)} = {where(other)}: sealed columns can only be compared if both are deterministic and "
        "of the same context and owner: declare both EncryptedType(..., deterministic=True, context=...)",
        EQUAL,
    )


def refuse_mixture(what: str, one: EncryptedType, other: EncryptedType) -> NoReturn:
    """Refuse a result column that would hold values of two contexts."""
    raise UnsupportedOperation(
        f"{what} of {where(one)} and {where(other)}: values of two contexts cannot be opened as one column: "
        'give both columns the same options and EncryptedType(..., context="..."), or select them apart'
    )


def refuse_row_bound(element: Any, type_: EncryptedType) -> NoReturn:
    """Refuse an element that loses whose row a row-bound value is of."""
    raise UnsupportedOperation(
        f"{title(element)} of {where(type_)}: the column is row-bound and opens with its own row only: "
        "select the column itself, with the columns of its row identity"
    )


def refuse_type(element: Any, type_: EncryptedType) -> NoReturn:
    """Refuse an element that would give sealed bytes under another type."""
    raise UnsupportedOperation(
        f"{title(element)} of {where(type_)} would give sealed bytes under another type: keep the column's "
        "own, with type_=Model.column.type or type_coerce(..., Model.column.type); type_coerce(column, "
        "LargeBinary) is the stored bytes themselves"
    )
