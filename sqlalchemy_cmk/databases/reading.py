"""Reading rows as the driver gives them, past the types of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Float, LargeBinary, Numeric, Select
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases import sqlalchemy_private as private


class RowReader:
    """Runs queries that are alike one after the other; it may learn from a result how to read the next."""

    def rows(self, connection: Connection, query: Select[Any], parameters: dict[str, Any]) -> Sequence[Any]:
        """Return the rows of a query."""
        return private.raw_rows(connection.execute(query, parameters))


def has_processors(type_: TypeEngine[Any], dialect: Dialect) -> bool:
    """Return whether what a type gives differs from what the driver gives."""
    if isinstance(type_, LargeBinary | NullType):
        return False
    # Some drivers give these by a code that comes with each result only, such as those of PostgreSQL.
    if isinstance(type_, Float | Numeric):
        return True
    return type_.dialect_impl(dialect).result_processor(dialect, None) is not None
