"""Upserts as each database writes them."""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import mysql, postgresql, sqlite

_INSERT: dict[str, Any] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


def upsert(engine: Engine, table: Any) -> Any:
    """Return an INSERT into a table that takes a clause for conflicts."""
    return _INSERT[engine.dialect.name](table)


def on_conflict(statement: Any, **set_: Any) -> Any:
    """Return an upsert that sets columns of the row that has its ``id``."""
    if hasattr(statement, "on_duplicate_key_update"):
        return statement.on_duplicate_key_update(**set_)
    return statement.on_conflict_do_update(index_elements=["id"], set_=set_)


def brought(statement: Any) -> Any:
    """Return the columns of the row that an upsert brings."""
    return statement.inserted if hasattr(statement, "inserted") else statement.excluded
