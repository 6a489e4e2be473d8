"""What a column's type tells, and how a column is compared to the last bit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BINARY, Dialect, Float, Text, cast, collate, literal_column, type_coerce
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

MYSQL = ("mysql", "mariadb")


def python_type_of(type_: TypeEngine[Any]) -> type[Any] | None:
    """Return the Python type of a type's values; ``None`` where SQLAlchemy does not know."""
    try:
        return type_.python_type
    except NotImplementedError:
        return None


def is_binary(type_: TypeEngine[Any]) -> bool:
    """Tell whether a reflected type holds bytes."""
    return python_type_of(type_) is bytes


def exactly(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return a column in a form that compares to the last bit: a collation holds 'acme' for 'ACME'.

    What it gives is text, on MySQL and MariaDB bytes, and on SQLite what is stored.
    """
    if dialect.name == "sqlite":
        return type_coerce(collate(type_coerce(column, Text()), "BINARY"), NullType())
    if dialect.name in MYSQL:
        # A FLOAT is shown with six digits only.
        shown = column + literal_column("0e0") if isinstance(column.type, Float) else column
        return type_coerce(cast(shown, BINARY), NullType())
    if dialect.name == "postgresql":
        return collate(cast(column, Text), "C")
    return cast(column, Text)
