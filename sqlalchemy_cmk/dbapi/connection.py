"""A driver's connection whose cursors seal and open. See :class:`Connection`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from sqlalchemy import Connection as BoundConnection

from sqlalchemy_cmk.dbapi.cursor import Cursor
from sqlalchemy_cmk.dbapi.lent import Lent
from sqlalchemy_cmk.dbapi.statements import Known, Sent, Statements
from sqlalchemy_cmk.errors import UnsupportedOperation

_OURS = ("_lent", "_raw", "_statements", "bound")


class Connection:
    """A PEP 249 connection around a driver's own. Made by :func:`~sqlalchemy_cmk.dbapi.wrap`.

    What is not here is the driver's.

    Args:
        raw: the driver's connection.
        lent: the same, as SQLAlchemy has it.
        bound: SQLAlchemy's connection over it, by which the keys of its database are found.
        statements: reads and seals statements.

    Attributes:
        bound: SQLAlchemy's connection over it.
    """

    def __init__(self, raw: Any, lent: Lent, bound: BoundConnection, statements: Statements) -> None:
        self._raw = raw
        self._lent = lent
        self.bound = bound
        self._statements = statements

    def __getattr__(self, name: str) -> Any:
        if name in _UNKNOWN:
            raise UnsupportedOperation(
                f"{name}() of a wrapped connection: it sends what is not sealed: use execute()"
            )
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OURS:
            object.__setattr__(self, name, value)
        else:
            setattr(self._raw, name, value)

    def cursor(self, *args: Any, **options: Any) -> Cursor:
        """Return a cursor; the arguments are the driver's."""
        return Cursor(self, self._raw.cursor(*args, **options))

    def execute(self, statement: Any, parameters: Any = None, **options: Any) -> Cursor:
        """Execute a statement with a cursor of its own, where the driver has this too.

        Raises:
            AttributeError: it has not.
        """
        _ = self._raw.execute
        cursor = self.cursor()
        cursor.execute(statement, parameters, **options)
        return cursor

    def executemany(self, statement: Any, parameters: Any) -> Cursor:
        """Execute a statement for many sets of parameters; as :meth:`execute`."""
        _ = self._raw.executemany
        cursor = self.cursor()
        cursor.executemany(statement, parameters)
        return cursor

    def commit(self) -> None:
        """Commit."""
        if self.bound.in_transaction():
            with self._lent.passing_on():
                self.bound.commit()
        else:
            self._raw.commit()

    def rollback(self) -> None:
        """Roll back."""
        if self.bound.in_transaction():
            with self._lent.passing_on():
                self.bound.rollback()
        else:
            self._raw.rollback()

    def close(self) -> None:
        """Close the driver's connection; what was not committed is rolled back by the database."""
        self._raw.close()

    def __enter__(self) -> Self:
        self._raw.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self._raw.__exit__(*raised)

    def known(self, statement: Any) -> Known | None:
        """Return what is known of a statement; ``None`` if it names no protected table.

        Raises:
            UnsupportedOperation: as :meth:`Statements.known`; or it is not text.
        """
        if isinstance(statement, str):
            return self._statements.known(statement)
        text = statement.decode() if isinstance(statement, bytes) else _as_string(statement, self._raw)
        if self._statements.known(text) is not None:
            raise UnsupportedOperation("a statement over a table with sealed columns is given as str")
        return None

    def may_concern(self, statement: Any) -> bool:
        """Return whether a statement may name a protected table, without reading it."""
        text = statement if isinstance(statement, str) else _as_string(statement, self._raw)
        return self._statements.schema.may_concern(text)

    def seal(self, known: Known, statement: str, given: Any) -> Sent:
        """Return one execution sealed; see :meth:`Statements.seal`."""
        return self._statements.seal(self.bound, known, statement, given, self._ask)

    def seal_many(self, known: Known, statement: str, every: Sequence[Any]) -> Sent | None:
        """Return many executions sealed; see :meth:`Statements.seal_many`."""
        return self._statements.seal_many(self.bound, known, statement, every)

    def _ask(self, statement: str, parameters: Any) -> Sequence[Sequence[Any]]:
        cursor = self._raw.cursor()
        try:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())
        finally:
            cursor.close()


def _as_string(statement: Any, raw: Any) -> str:
    """Return the text of a composed statement, as psycopg's ``sql`` module makes it."""
    if hasattr(statement, "as_string"):
        return str(statement.as_string(raw))
    raise UnsupportedOperation(f"a statement of type {type(statement).__name__}: give its text as str")


# Ways of drivers to send SQL past a cursor.
_UNKNOWN = frozenset(
    {"executescript", "query", "pipeline", "backup_", "iterdump", "blobopen", "create_function_"}
)
