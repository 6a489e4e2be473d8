"""MariaDB and MySQL: collations that ignore case, statements that commit, updates joined to VALUES."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from struct import pack
from typing import Any

from sqlalchemy import (
    BINARY,
    CHAR,
    TIMESTAMP,
    VARBINARY,
    Connection,
    Date,
    DateTime,
    Float,
    Numeric,
    String,
    Table,
    Time,
    Uuid,
    cast,
    func,
    literal_column,
    type_coerce,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.mysql import BIGINT, DATETIME, LONGBLOB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType, TypeEngine

from sqlalchemy_cmk.databases import values_table
from sqlalchemy_cmk.databases.base import NEVER_SCRUBBED, Database, Release
from sqlalchemy_cmk.databases.batch_update import BatchUpdate, Values, Write
from sqlalchemy_cmk.databases.grams.mariadb import MariaDBGrams
from sqlalchemy_cmk.databases.quoting import verbatim
from sqlalchemy_cmk.databases.read_back import KeepsAll, kept_as_bound, kept_by_cast, same
from sqlalchemy_cmk.databases.statistics.mariadb import MariaDBStatistics
from sqlalchemy_cmk.databases.surroundings.mariadb import MariaDBSurroundings
from sqlalchemy_cmk.databases.visibility.mariadb import MariaDBVisibility

# https://mariadb.com/kb/en/mariadb-error-code-reference/: lock wait timeout, deadlock, max_statement_time
_CONFLICTS = {1205, 1213, 1969}
# Deadlock; the table was made or altered after the snapshot.
_OUT_OF_DATE = {1213, 1412}
# A value that does not fit, of which the driver makes an OperationalError.
_MISFITS = {1264, 1265, 1292, 1366, 1406, 4025}
# Out of resources, cancelled, shut down, not permitted, no such thing: these messages quote no value.
_HARMLESS = {1021, 1030, 1053, 1114, 1142, 1143, 1180, 1205, 1213, 1290, 1665, 1836, 1927, 1969, 2006, 2013}
# A whole row has 65,535 bytes; longer values go into a blob, of which a row holds the address only.
_MAX_VARBINARY = 8000
# A FLOAT(p) of more is a double.
_SINGLE_BITS = 24
# The text of an UPDATE, with names; and of a value its introducer, quotes and comma, or a number's digits.
_AROUND_A_STATEMENT = 8192
_AROUND_A_VALUE = 40
# https://dev.mysql.com/doc/c-api/8.0/en/mysql-real-escape-string-quote.html
_ESCAPED = "\0\n\r\x1a\"'\\"
# MySQL has a server_uuid, MariaDB a server_uid: a hash of the network card's address and the port.
_PLACE = (
    "SHOW VARIABLES WHERE Variable_name IN "
    "('server_uuid', 'server_uid', 'hostname', 'port', 'socket', 'datadir')"
)
_NEVER_SCRUBBED = (
    "InnoDB's redo log (ib_logfile0) holds what was written to the table until it is written over.",
    "InnoDB's undo log and doublewrite buffer (ibdata1, undo001 ...) hold old versions of rows until their "
    "pages are used again.",
    "The binary log, if it is on, holds every statement or row that was written: PURGE BINARY LOGS when "
    "replicas have read it.",
    "Persistent statistics (mysql.column_stats), if ANALYZE TABLE ... PERSISTENT was ever run, hold the "
    "smallest and largest values: run it again, or delete the table's rows there.",
)


class MariaDB(Database):
    """MariaDB, and MySQL, which differs in few points."""

    key = "mariadb"
    dialects = ("mysql", "mariadb")
    decimal_digits = None
    parsed_as = "mysql"
    visibility = MariaDBVisibility()
    surroundings = MariaDBSurroundings()
    statistics = MariaDBStatistics()
    grams = MariaDBGrams()

    @property
    def _is_mariadb(self) -> bool:
        # Known once the dialect has met a server: a URL of either name may lead to either database.
        return bool(getattr(self.dialect, "is_mariadb", False))

    @classmethod
    def exact_text_type(cls, length: int) -> TypeEngine[Any]:
        """Return VARBINARY: collations take 'acme', 'ACME' and 'acme ' for one tenant, bytes do not."""
        return VARBINARY(4 * length)

    @classmethod
    def fixed_bytes_type(cls, length: int) -> TypeEngine[Any]:
        """Return BINARY: a BLOB cannot be part of a key."""
        return BINARY(length)

    @classmethod
    def long_bytes_type(cls) -> TypeEngine[Any]:
        """Return LONGBLOB: a BLOB holds 64 KiB."""
        return LONGBLOB()

    def sealed_type(self, max_bytes: int | None) -> TypeEngine[Any]:
        """Return VARBINARY, which an index can be on, for short values."""
        return VARBINARY(max_bytes) if max_bytes is not None and max_bytes <= _MAX_VARBINARY else LONGBLOB()

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the bytes of what is shown."""
        # A FLOAT is shown with six digits only.
        shown = column + literal_column("0e0") if isinstance(column.type, Float) else column
        return type_coerce(cast(shown, BINARY), NullType())

    def exact_value(self, text: str) -> bytes:
        """Return the text's bytes."""
        return text.encode()

    def hold(self, connection: Connection, name: str) -> Release | None:
        """Take a named lock of the session; names are the server's, and have 64 characters at most."""
        database = connection.execute(sql("SELECT database()")).scalar()
        key = {"name": f"cmk_{sha256(f'{database} {name}'.encode()).hexdigest()[:48]}"}
        if connection.execute(sql("SELECT get_lock(:name, 0)"), key).scalar() != 1:
            return None
        return partial(connection.execute, sql("SELECT release_lock(:name)"), key)

    def keeps_all(self, declared: TypeEngine[Any], stored: TypeEngine[Any]) -> KeepsAll | None:
        """Have the server cast what it may round, and compare the text of the rest."""
        made = declared.dialect_impl(self.dialect)
        made = getattr(made, "impl_instance", made)
        if isinstance(made, Float):
            is_single = (
                made.compile(self.dialect).startswith("FLOAT") and (made.precision or 0) <= _SINGLE_BITS
            )
            return kept_as_bound(declared, self.dialect, float, _same_single if is_single else _same_double)
        if isinstance(made, Uuid) and isinstance(stored, Uuid):
            return None
        if isinstance(made, TIMESTAMP):
            return kept_by_cast(DATETIME(fsp=getattr(made, "fsp", None)), self.exact)
        if isinstance(made, Date | DateTime | Time | Numeric):
            return kept_by_cast(declared, self.exact)
        if isinstance(made, CHAR | BINARY) and not isinstance(stored, CHAR | BINARY):
            return _unpadded(made.length or 1)
        if isinstance(made, String) and isinstance(stored, String):
            return None
        return kept_as_bound(declared, self.dialect, _as_text, same)

    def statement_limit(self, connection: Connection) -> int | None:
        """Return ``max_allowed_packet``."""
        return int(connection.execute(sql("SELECT @@max_allowed_packet")).scalar_one())

    def fits(self, columns: Sequence[Values], limit: int) -> bool:
        """Count the values as drivers write them into a statement."""
        room = limit - _AROUND_A_STATEMENT - _AROUND_A_VALUE * sum(map(len, columns))
        values = [one for column in columns for one in column if isinstance(one, bytes | memoryview | str)]
        return 8 * sum(map(len, values)) <= room or sum(map(_written_bytes, values)) <= room

    def too_long(self, limit: int) -> str:
        """Name the server's variable."""
        return (
            f"its statement is longer than the {limit} bytes that the server takes: raise max_allowed_packet "
            "(up to 1 GiB) and reconnect"
        )

    def rows_digest(self, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        """Return the exclusive or of half of each row's MD5; the key keeps two rows from cancelling out."""
        # Of each value first: a function's result is NULL where it is longer than max_allowed_packet.
        each = (func.coalesce(func.md5(self.exact(one)), "") for one in columns)
        half = func.left(func.md5(func.concat_ws("|", *each)), 16)
        return func.bit_xor(cast(func.conv(half, 16, 10), BIGINT(unsigned=True)))

    def place(self, connection: Connection) -> str | None:
        """Return the server's host and what else it is known by, and the database's name there."""
        database = connection.exec_driver_sql("SELECT database()").scalar()
        return f"{sorted(map(tuple, connection.exec_driver_sql(_PLACE)))} {database}" if database else None

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin the transaction at REPEATABLE READ."""
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def limit_lock_waits(self, connection: Connection) -> None:
        """Set InnoDB's lock wait timeout, and the strict mode."""
        connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {self.lock_seconds}")
        # Otherwise a value that is too long for its column would be cut off.
        connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
        connection.commit()

    def _lock_out_writers(self, connection: Connection, tables: list[str]) -> None:
        before = connection.execute(sql("SELECT @@SESSION.lock_wait_timeout")).scalar_one()
        connection.execute(sql(f"SET SESSION lock_wait_timeout = {self.writer_seconds}"))
        try:
            for table in tables:
                connection.execute(verbatim(f"LOCK TABLES {table} READ"))
                connection.execute(sql("UNLOCK TABLES"))
        finally:
            connection.execute(sql(f"SET SESSION lock_wait_timeout = {int(before)}"))

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether a lock was waited for too long, or others were in a deadlock with it."""
        return _number(error) in _CONFLICTS

    def is_out_of_date(self, error: DBAPIError) -> bool:
        """Return whether the table is newer than the snapshot, or a deadlock has ended that."""
        return _number(error) in _OUT_OF_DATE

    def is_misfit(self, error: DBAPIError) -> bool:
        """Return whether a value was refused, whatever class of error the driver makes of that."""
        return super().is_misfit(error) or _number(error) in _MISFITS

    def explain(self, error: DBAPIError) -> str:
        """Return the error's number, with its message where that quotes no value."""
        name, number = super().explain(error), _number(error)
        if not isinstance(number, int):
            return name
        message = f": {error.orig.args[-1]}" if error.orig is not None and number in _HARMLESS else ""
        return f"{name} {number}{message}"

    def estimated_rows(self, connection: Connection, table: Table) -> int | None:
        """Return InnoDB's estimate."""
        query = sql(
            "SELECT table_rows FROM information_schema.tables "
            "WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
        )
        return connection.execute(query, {"schema": table.schema, "name": table.name}).scalar()

    def batch_writer(self, update: BatchUpdate, connection: Connection) -> Write:
        """Return a writer that joins the rows as a table of values, on MariaDB and for sealed values."""
        if self._is_mariadb and update.writes_bytes_only and not update.reads_other_table:
            return values_table.writer(update, connection, self.statement_seconds)
        return super().batch_writer(update, connection)

    @property
    def indexes_have_schemas(self) -> bool:
        """They have not: ``DROP INDEX name ON table``."""
        return False

    def reflected_name(self, name: str) -> str:
        """Return the name with its quotes single: reflection leaves them as SHOW CREATE TABLE has them."""
        quote = self.dialect.identifier_preparer.initial_quote
        return name.replace(quote * 2, quote)

    @property
    def creates_index_if_not_exists(self) -> bool:
        """MariaDB does, MySQL does not."""
        return self._is_mariadb

    def scrub(self, connection: Connection, table: str, patience: float) -> list[str]:
        """Have InnoDB rewrite the table."""
        connection.execute(verbatim(f"ALTER TABLE {table} FORCE"))
        return [*_NEVER_SCRUBBED, *NEVER_SCRUBBED]


def _unpadded(length: int) -> KeepsAll:
    """Return what says which values come back from a column of one length, which pads them."""

    def kept(connection: Connection, values: Sequence[Any], forms: Sequence[Any]) -> Iterable[bool]:
        # A CHAR is read without the blanks at its end.
        return (not one.endswith(" ") if isinstance(one, str) else len(one) == length for one in values)

    return kept


def _same_double(form: Any, bound: float) -> bool:
    return float(form).hex() == bound.hex()


def _same_single(form: Any, bound: float) -> bool:
    return pack("f", float(form)) == pack("f", bound)


def _as_text(bound: Any) -> bytes:
    """Return what the driver is given as the text that the server shows of it."""
    if isinstance(bound, bytes):
        return bound
    return str(int(bound) if isinstance(bound, bool) else bound).encode()


def _number(error: DBAPIError) -> Any:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


def _written_bytes(value: bytes | memoryview | str) -> int:
    """Return the length of a value in a statement: bytes in hexadecimal, as PyMySQL writes them."""
    if not isinstance(value, str):
        return 2 * len(value)
    return len(value.encode()) + sum(map(value.count, _ESCAPED))
