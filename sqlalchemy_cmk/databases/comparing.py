"""The Python type of a column, and the comparison of a column to the last bit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, TypeDecorator
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases import database_of


def python_type_of(type_: TypeEngine[Any]) -> type[Any] | None:
    """Return the Python type of a type's values; ``None`` if SQLAlchemy does not know."""
    try:
        return type_.python_type
    except NotImplementedError:
        return None


def is_binary(type_: TypeEngine[Any]) -> bool:
    """Return whether a column of a type holds bytes, whatever it makes of them."""
    stored = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    return python_type_of(stored) is bytes


def exactly(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return a column in a form that compares to the last bit: a collation takes 'acme' for 'ACME'."""
    return database_of(dialect).exact(column)


def equals_exactly(column: ColumnElement[Any], text: str, dialect: Dialect) -> ColumnElement[bool]:
    """Return the criterion of a text column that holds a text to the last bit."""
    database = database_of(dialect)
    same: ColumnElement[bool] = database.exact(column) == database.exact_value(text)
    return same
