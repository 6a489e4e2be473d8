"""The errors of SQL text that cannot be read, written or asked: what is wrong, and what to write instead."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.errors import UnsupportedOperation


def refuse_text(reason: str) -> NoReturn:
    """Refuse SQL text that names a protected table and is not understood."""
    raise UnsupportedOperation(
        f"the SQL text names a table with sealed columns, and is not understood: {reason}. Use the model, or "
        "write a plain SELECT, INSERT ... VALUES, UPDATE or DELETE with parameters"
    )


def refuse_use(column: SealedColumn, what: str) -> NoReturn:
    """Refuse to do something with sealed bytes in SQL."""
    raise UnsupportedOperation(
        f"{column.where}: {what} in SQL text has no meaning on sealed bytes: select the column itself, "
        "compare a deterministic one with parameters (= or IN), or use the model"
    )


def refuse_literal(column: SealedColumn) -> NoReturn:
    """Refuse what stands in the SQL text where a sealed value belongs."""
    raise UnsupportedOperation(
        f"{column.where}: the SQL text has a value or an expression where a sealed value belongs, which "
        "would reach the database unsealed: give the value as a parameter"
    )


def refuse_randomized(column: SealedColumn, what: str) -> NoReturn:
    """Refuse to ask which values of a randomized column are equal."""
    raise UnsupportedOperation(
        f"{column.where}: {what} in SQL text: it is sealed with a random nonce, no two values are equal: "
        "declare it EncryptedType(..., deterministic=True)"
    )
