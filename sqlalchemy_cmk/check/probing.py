"""Asks the library itself whether it would refuse a query, by building it: there is no second list."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported import refuse_unsupported


def refusal_of(statement: Any) -> UnsupportedOperation | None:
    """Return the error with which a statement would be refused; ``None`` if it would be sent.

    Args:
        statement: a SELECT, or an expression to be selected.
    """
    if isinstance(statement, ColumnElement):
        statement = select(statement)
    if not isinstance(statement, Select):
        return None
    try:
        # What sealed bytes may be asked is the same on every dialect.
        refuse_unsupported(statement.compile())
    except UnsupportedOperation as error:
        return error
    except SQLAlchemyError:  # of a dialect of its own: the statement itself is looked at when it is sent
        return None
    return None
