"""The contract of a database: :class:`Database`, whose defaults refuse what not every database allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NoReturn

from sqlalchemy import URL, Connection, Dialect, Engine, LargeBinary, String, Table, func
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases.batch_update import BatchUpdate, Values, Write, row_by_row
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.databases.grams.base import GramStorage
from sqlalchemy_cmk.databases.listening import Listener
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.databases.read_back import KeepsAll
from sqlalchemy_cmk.databases.reading import RowReader
from sqlalchemy_cmk.databases.statistics import Statistics
from sqlalchemy_cmk.databases.surroundings import Surroundings
from sqlalchemy_cmk.databases.visibility import Visibility
from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable

Release = Callable[[], object]

NOT_IN_AUTOCOMMIT = "a table cannot be scrubbed in a transaction: give a connection in AUTOCOMMIT"
NEVER_SCRUBBED = (
    "Backups, exports and logical replicas that were made before hold the plaintexts: make new ones, destroy "
    "the old ones.",
    "The old files were deleted, not overwritten: their blocks lie on the disk until they are used again.",
)


class Database:
    """One kind of database, and all that it does in its own way.

    A database that is not known has the defaults here: standard SQL where that is safe, and a
    :class:`ConfigurationError` where a guess could lose or mix up data.

    Args:
        dialect: the dialect of the connection or engine.

    Attributes:
        key: the name of the database's files, here and in ``alembic/conversion/``; empty if migrations
            do not convert columns.
        dialects: the names of its dialects in SQLAlchemy.
        isolation_level: the level at which the keyring's units of work run.
        parsed_as: the name of sqlglot's dialect for its SQL, where the common one does not read that.
        locks_whole_database: whether one connection writes at a time, and waits for those that read.
        stores_bytes_in_any_column: whether a column keeps bytes whatever its type.
        keeps_time_zones: whether a ``DateTime(timezone=True)`` gives the moment back that was written.
        second_digits: how many digits of a second a time keeps whose type does not say.
        decimal_digits: how many digits a decimal keeps; ``None`` for those that its type says.
        has_unlimited_decimals: whether a ``Numeric`` without precision and scale keeps every digit.
        lock_seconds: how long the engine's writes wait for rows that others hold.
        statement_seconds: how long one of the engine's writes may take, where the database can limit it.
        writer_seconds: how long :meth:`wait_for_writers` waits for one table.
        visibility: which rows a connection sees.
        surroundings: what stands around a table.
        statistics: what is known of rows that nobody has counted.
        grams: how sets of search tokens are stored and searched; ``None`` if that is not known.
    """

    key: ClassVar[str] = ""
    dialects: ClassVar[tuple[str, ...]] = ()
    isolation_level: ClassVar[str] = "READ COMMITTED"
    locks_whole_database: ClassVar[bool] = False
    parsed_as: ClassVar[str] = ""
    stores_bytes_in_any_column: ClassVar[bool] = False
    keeps_time_zones: ClassVar[bool] = False
    second_digits: ClassVar[int] = 0
    decimal_digits: ClassVar[int | None] = 15
    has_unlimited_decimals: ClassVar[bool] = False
    lock_seconds: ClassVar[int] = 2
    statement_seconds: ClassVar[int] = 60
    writer_seconds: ClassVar[int] = 10
    visibility: ClassVar[Visibility] = Visibility()
    surroundings: ClassVar[Surroundings] = Surroundings()
    statistics: ClassVar[Statistics] = Statistics()
    grams: ClassVar[GramStorage | None] = None

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    @property
    def name(self) -> str:
        """The name of the database, for messages."""
        return self.dialect.name

    # Types

    @classmethod
    def exact_text_type(cls, length: int) -> TypeEngine[Any]:
        """Return the type of a text that is compared byte by byte; where it stores bytes, they are UTF-8."""
        return String(length)

    @classmethod
    def fixed_bytes_type(cls, length: int) -> TypeEngine[Any]:
        """Return the type of bytes of one length, which may be part of a primary key."""
        return LargeBinary(length)

    @classmethod
    def long_bytes_type(cls) -> TypeEngine[Any]:
        """Return the type of bytes of any length."""
        return LargeBinary()

    def sealed_type(self, max_bytes: int | None) -> TypeEngine[Any]:
        """Return the type of sealed values.

        Args:
            max_bytes: the length of the longest one, ``None`` if there is no limit.
        """
        return LargeBinary()

    def grams_type(self) -> TypeEngine[Any]:
        """Return the type of a set of 64-bit search tokens."""
        return LargeBinary() if self.grams is None else self.grams.type

    def bind_grams(self, packed: bytes) -> Any:
        """Return a set of search tokens, packed as big-endian 64-bit integers, as the driver takes it."""
        return packed if self.grams is None else self.grams.bind(packed)

    def gram_storage(self) -> GramStorage:
        """Return how sets of search tokens are stored and searched.

        Raises:
            ConfigurationError: it is not known on this database.
        """
        if self.grams is None:
            self._refuse("search sets of tokens, as an index NGram does,")
        return self.grams

    # Comparing

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column in a form that compares to the last bit, whatever its collation.

        Raises:
            ConfigurationError: it is not known how on this database.
        """
        self._refuse("compare values to the last bit")

    def exact_value(self, text: str) -> Any:
        """Return a text in the form that :meth:`exact` gives it."""
        return text

    def is_read_exactly(self, stored: TypeEngine[Any]) -> bool:
        """Return whether a text or binary column is read just as :meth:`exact` gives it."""
        return False

    def keeps_all(self, declared: TypeEngine[Any], stored: TypeEngine[Any]) -> KeepsAll | None:
        """Return what says which plain values come back byte for byte; ``None`` if all of them do.

        Args:
            declared: the type under which they are read from the column, and written again.
            stored: the column's type in the database.

        Raises:
            ConfigurationError: it is not known on this database.
        """
        self._refuse("compare values to the last bit")

    # Lengths

    def length(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return how many bytes a column's value has, as text where it is of another type."""
        return func.octet_length(column)

    def statement_limit(self, connection: Connection) -> int | None:
        """Return the bytes of the longest statement that the server takes; ``None`` for no limit."""
        return None

    def fits(self, columns: Sequence[Values], limit: int) -> bool:
        """Return whether a statement with these values is no longer than so many bytes."""
        return True

    def too_long(self, limit: int) -> str:
        """Return what to do where a statement is longer than the server takes."""
        return f"its statement is longer than the {limit} bytes that the server takes"

    def rows_digest(self, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any] | None:
        """Return an aggregate that differs, but for a chance of 2^-64, when a column of some rows does.

        Args:
            columns: what is looked at, a key among them.

        Returns:
            ``None`` if the database has no function for it.
        """
        return None

    # Connections and transactions

    def is_in_memory(self, url: URL) -> bool:
        """Return whether the database is seen by one connection only."""
        return False

    def place(self, connection: Connection) -> str | None:
        """Return what tells the database that a connection leads to from every other; ``None`` if unknown."""
        return None

    def memory_engine(self) -> Engine:
        """Return an engine over a new database in memory, of which :meth:`is_in_memory` is true."""
        self._refuse("keep keys in memory")

    def may_hold_lock(self, connection: Connection) -> bool:
        """Return whether a connection's transaction may hold the lock of the whole database."""
        return False

    def without_waiting(self, connection: Connection) -> AbstractContextManager[None]:
        """Have a unit of work fail at once where the lock of the whole database is held."""
        return nullcontext()

    def hold(self, connection: Connection, name: str) -> Release | None:
        """Take the lock of a name, which belongs to the session: it ends with a process that is killed.

        Args:
            connection: outside of a transaction.
            name: what is held, the same for everybody.

        Returns:
            What gives the lock back; ``None`` if another session has it.

        Raises:
            ConfigurationError: it is not known how on this database.
        """
        self._refuse("hold a lock")

    def announce(self, connection: Connection, channel: str) -> None:
        """Tell those who listen, once the connection's transaction is committed; by default nobody can."""

    def listener(self, connection: Connection, channel: str) -> Listener | None:
        """Return what hears the announcements on a channel; ``None`` if the database has none.

        Args:
            connection: used for nothing else; each statement commits by itself.
            channel: the channel.
        """
        return None

    def begin_snapshot(self, connection: Connection) -> None:
        """Have every statement of a transaction see the database as of one moment.

        Raises:
            ConfigurationError: it is not known how on this database.
        """
        self._refuse("read several tables as of one moment")

    def limit_lock_waits(self, connection: Connection) -> None:
        """Have a connection's writes give up waiting for a lock after :attr:`lock_seconds`.

        A value that does not fit is refused from then on, whatever the server's settings.
        """

    def limit_statements(self, connection: Connection) -> None:
        """Limit the time of the statements of this transaction, where that is set for each transaction."""

    def wait_for_writers(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Wait until every transaction that writes to some tables now has ended.

        A row that was sealed before a DEK was retired, in a transaction that is not committed, is seen by no
        count. So each table's lock against writers is taken for a moment; writers who come meanwhile wait.

        Args:
            connection: in a transaction that has done nothing; its statements may commit.
            tables: the tables.

        Raises:
            KeyUnavailable: a transaction has been writing for more than :attr:`writer_seconds`, or the
                account may not lock a table.
            ConfigurationError: it is not known how to wait on this database.
        """
        quoting = Quoting(self.dialect)
        try:
            self._lock_out_writers(connection, [quoting.table(table.name, table.schema) for table in tables])
            return
        except DBAPIError as error:
            reason = first_line(error)
        raise KeyUnavailable(
            f"not every transaction that writes to the sealed tables has ended ({reason}): try again when "
            "they have"
        )

    def _lock_out_writers(self, connection: Connection, tables: list[str]) -> None:
        self._refuse("wait for writers")

    # Errors

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether a statement failed because others hold the rows, so that it may be tried again."""
        return False

    def is_out_of_date(self, error: DBAPIError) -> bool:
        """Return whether a snapshot is older than what it is to read, so that a new one may be read."""
        return False

    def is_misfit(self, error: DBAPIError) -> bool:
        """Return whether the database refused a value: too long, out of range, or against a constraint."""
        return isinstance(error, DataError | IntegrityError)

    def explain(self, error: DBAPIError) -> str:
        """Return the database's message without any value of a row, which it may quote."""
        return type(error.orig).__name__

    # Rows

    def estimated_rows(self, connection: Connection, table: Table) -> int | None:
        """Return about how many rows a table has; ``None`` if the database keeps no estimate."""
        return None

    def row_reader(self) -> RowReader:
        """Return the reader of rows as the driver gives them."""
        return RowReader()

    def batch_writer(self, update: BatchUpdate, connection: Connection) -> Write:
        """Return the function that runs an update of many rows and returns how many it has changed."""
        return row_by_row(update)

    # Schema

    @property
    def concurrently(self) -> str:
        """What stands between ``INDEX`` and a name so that others write the table meanwhile."""
        return ""

    @property
    def indexes_have_schemas(self) -> bool:
        """Whether an index is dropped by its own name, with its schema, and not on its table."""
        return True

    def is_index_valid(self, connection: Connection, schema: str | None, name: str) -> bool:
        """Return whether an index that is there was made to its end."""
        return True

    def reflected_name(self, name: str) -> str:
        """Return the name of a column from what SQLAlchemy's reflection calls it."""
        return name

    @property
    def creates_index_if_not_exists(self) -> bool:
        """Whether ``CREATE INDEX`` takes ``IF NOT EXISTS``."""
        return False

    def scrub(self, connection: Connection, table: str, patience: float) -> list[str]:
        """Rewrite a table; see :func:`~sqlalchemy_cmk.databases.scrub.scrub`.

        Args:
            connection: one in AUTOCOMMIT.
            table: the table's name, quoted.
            patience: seconds for which older transactions are waited for.

        Raises:
            ConfigurationError: it is not known how on this database.
        """
        self._refuse("scrub a table")

    def _refuse(self, what: str) -> NoReturn:
        raise ConfigurationError(f"it is not known how to {what} on {self.name}")
