"""A cursor of a driver that seals what it sends and opens what it fetches. See :class:`Cursor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from sqlalchemy_cmk.dbapi.copying import SealingCopy, insert_like
from sqlalchemy_cmk.dbapi.fetching import OpeningCursor
from sqlalchemy_cmk.dbapi.statements import Known, Sent
from sqlalchemy_cmk.errors import UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy_cmk.dbapi.connection import Connection


class Cursor(OpeningCursor):
    """A PEP 249 cursor around a driver's own.

    What is not here is the driver's: ``description``, ``arraysize``, ``lastrowid`` and the rest. Made by
    :meth:`Connection.cursor`.

    Args:
        connection: the wrapped connection.
        cursor: the driver's cursor.
    """

    def __init__(self, connection: Connection, cursor: Any) -> None:
        super().__init__(cursor, None)
        self._connection = connection
        self._rowcount: int | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _UNKNOWN:
            raise UnsupportedOperation(f"{name}() of a wrapped cursor: what it sends could not be sealed")
        return getattr(self._cursor, name)

    @property
    def connection(self) -> Connection:
        """The wrapped connection."""
        return self._connection

    @property
    def rowcount(self) -> int:
        """As the driver's."""
        return self._cursor.rowcount if self._rowcount is None else self._rowcount

    def execute(self, statement: Any, parameters: Any = None, *args: Any, **options: Any) -> Any:
        """Execute a statement, with what it writes and compares sealed; return what the driver does.

        Args:
            statement: the SQL text.
            parameters: as the driver takes them.
            *args: the driver's own, as are ``options``.

        Raises:
            CmkError: the statement is refused, or a key cannot be used.
        """
        self._forget()
        known = self._connection.known(statement)
        if known is None:
            return self._send(statement, parameters, args, options)
        if args or options:
            raise UnsupportedOperation(
                "options of execute() with a table that has sealed columns: leave them out"
            )
        sent = self._connection.seal(known, statement, parameters)
        returned = self._send(sent.statement, sent.parameters, (), {})
        self._open(known, sent)
        return returned

    def executemany(self, statement: Any, parameters: Any, *args: Any, **options: Any) -> Any:
        """Execute a statement for many sets of parameters; raises as :meth:`execute` does."""
        self._forget()
        known = self._connection.known(statement)
        if known is None:
            return self._own(self._cursor.executemany(statement, parameters, *args, **options))
        if args or options:
            raise UnsupportedOperation("options of executemany() with a table that has sealed columns")
        every = list(parameters)
        sent = self._connection.seal_many(known, statement, every)
        if sent is not None:
            return self._own(self._cursor.executemany(sent.statement, sent.parameters))
        count, returned = 0, None
        for one in every:
            returned = self.execute(statement, one)
            count += max(self._cursor.rowcount, 0)
        self._rowcount = count
        return count if isinstance(returned, int) else returned

    def copy(self, statement: Any, parameters: Any = None, **options: Any) -> Any:
        """Return psycopg's COPY of a statement; into a protected table, one that seals rows on their way.

        Raises:
            UnsupportedOperation: it is of another form than ``COPY table (columns) FROM STDIN``.
        """
        copy = self._cursor.copy
        if not self._connection.may_concern(statement):
            return copy(statement, parameters, **options)
        known = self._connection.known(insert_like(str(statement)))
        if known is None or known.plan.inserted is None:
            return copy(statement, parameters, **options)
        bound = self._connection.bound
        return SealingCopy(self._cursor, bound, known.plan.inserted, str(statement))

    def callproc(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: what a procedure writes cannot be seen.

        Raises:
            UnsupportedOperation: always.
        """
        raise UnsupportedOperation(
            "callproc: what a stored procedure does with its parameters cannot be seen: call it on the "
            "driver's own connection, with values sealed by keyring.seal()"
        )

    def scroll(self, *args: Any, **options: Any) -> Any:
        """Move the driver's cursor, where it can.

        Raises:
            UnsupportedOperation: its rows are opened in batches, which were read already.
        """
        if self._opener is not None:
            raise UnsupportedOperation("scroll() over rows that are opened: fetch them in their order")
        return self._cursor.scroll(*args, **options)

    def nextset(self) -> Any:
        """Go to the next result, where the driver has several."""
        self._forget()
        return self._cursor.nextset()

    def close(self) -> None:
        """Close the driver's cursor, and drop rows that were opened."""
        self._forget()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, statement: Any, parameters: Any, args: Any, options: Any) -> Any:
        if parameters is None and not args:
            return self._own(self._cursor.execute(statement, **options))
        return self._own(self._cursor.execute(statement, parameters, *args, **options))

    def _own(self, returned: Any) -> Any:
        return self if returned is self._cursor else returned

    def _forget(self) -> None:
        self._opener = None
        self._rowcount = None
        self._rows.clear()

    def _open(self, known: Known, sent: Sent) -> None:
        described = self._cursor.description
        if described is not None and sent.values is not None:
            try:
                self._opener = known.opener.on(
                    self._connection.bound, [one[0] for one in described], sent.values
                )
            except BaseException:
                self._cursor.close()  # nothing of it is handed out unopened
                raise

    def _opened(self, raw: Sequence[Any]) -> Sequence[Any]:
        if self._opener is not None and raw and type(raw[0]) not in (tuple, list):
            raise UnsupportedOperation(
                f"rows of type {type(raw[0]).__name__}: a wrapped connection opens tuples: leave "
                "row_factory, cursorclass and the like at the driver's defaults"
            )
        return super()._opened(raw)


# Ways of drivers to send SQL or rows past execute().
_UNKNOWN = frozenset({"executescript", "stream", "mogrify"})
