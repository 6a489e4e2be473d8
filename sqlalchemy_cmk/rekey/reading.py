"""Rows as a job needs them: past SQLAlchemy's types where these change nothing, from psycopg in binary."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.rekey.layout import Key, Layout


class Reader:
    """Fetches a table's rows, some at a time.

    Args:
        layout: the table.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._raw = layout.raw
        self._is_psycopg = layout.dialect.name == "postgresql" and layout.dialect.driver == "psycopg"
        self._binary = False

    def rows(self, connection: Connection, after: Key | None, up_to: Key | None, limit: int) -> Sequence[Any]:
        """Return the next rows of :meth:`Layout.next_rows`, and end the transaction."""
        query = self._layout.next_rows(after, up_to, limit)
        try:
            if not self._raw:
                return connection.execute(*query).all()
            if self._is_psycopg:
                return self._from_psycopg(connection, query)
            return private.raw_rows(connection.execute(*query))
        finally:
            connection.rollback()

    def _from_psycopg(self, connection: Connection, query: tuple[Any, Any]) -> Sequence[Any]:
        from sqlalchemy_cmk.rekey.binary import results_in_binary, same_in_binary

        driver: Any = connection.connection.dbapi_connection
        with results_in_binary(driver) if self._binary else nullcontext():
            result = connection.execute(*query)
        # The first rows tell whether the others may come in binary.
        self._binary = result.cursor is not None and same_in_binary(result.cursor.description)
        return private.raw_rows(result)
