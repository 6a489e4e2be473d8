"""psycopg and PostgreSQL's binary forms: arrays made at once, and rows read three times as fast.

psycopg makes arrays element by element in Python. Their form is that of ``array_send`` in PostgreSQL's
``src/backend/utils/adt/arrayfuncs.c``: dimensions, whether there are NULLs, the elements' type, length and
lower bound, then each element after its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import chain
from struct import Struct
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy import Dialect, Integer, LargeBinary, Select, String, Text
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.batch_update import BatchUpdate, RawBytes, Values, Write
from sqlalchemy_cmk.databases.postgresql.arrays import bounds, length_of, statement
from sqlalchemy_cmk.databases.reading import RowReader

DriverConnection = Connection[Any] | AsyncConnection[Any]

_HEADER = Struct("!iiIii")
_LENGTH = Struct("!i").pack
_INTEGER = Struct("!q").pack
_NULL = b"\xff\xff\xff\xff"

# PostgreSQL's src/include/catalog/pg_type.dat: BYTEA, INT8, INT2, INT4, TEXT, BPCHAR, VARCHAR, UUID. psycopg
# gives the same for these in either form, but bytes for a type that it does not know in binary.
_SAME_IN_BINARY = {17, 20, 21, 23, 25, 1042, 1043, 2950}
# The numbers of an element's type and of its array's.
_BYTEA, _INT8, _TEXT = (17, 1001), (20, 1016), (25, 1009)


class _Array:
    def __init__(self, elements: list[bytes | None], types: tuple[int, int]) -> None:
        self.elements = elements
        self.types = types


class _Bytea(_Array):
    """BYTEA[]."""


class _Int8(_Array):
    """BIGINT[]."""


class _Text(_Array):
    """TEXT[]."""


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> bytes:
        nulls = None in obj.elements
        header = _HEADER.pack(1, nulls, obj.types[0], len(obj.elements), 1)
        return header + (_with_nulls if nulls else _without)(obj.elements)


def _without(elements: list[Any]) -> bytes:
    lengths = set(map(len, elements))
    if len(lengths) == 1:
        length = _LENGTH(*lengths)
        return length + length.join(elements)
    return b"".join(chain.from_iterable(zip(map(_LENGTH, map(len, elements)), elements, strict=True)))


def _with_nulls(elements: list[bytes | None]) -> bytes:
    return b"".join(_NULL if one is None else _LENGTH(len(one)) + one for one in elements)


_DUMPERS = {
    kind: type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": oid})
    for kind, oid in ((_Bytea, _BYTEA[1]), (_Int8, _INT8[1]), (_Text, _TEXT[1]))
}


def register(connection: DriverConnection) -> None:
    """Have a connection take the parameters of :func:`packer`."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)


def packer(type_: TypeEngine[Any]) -> Callable[[Sequence[Any]], Any]:
    """Return a function that makes a parameter of a column's values, or their list for uncommon types."""
    if isinstance(type_, LargeBinary | RawBytes):
        return lambda values: _Bytea(list(values), _BYTEA)
    if isinstance(type_, Integer):
        return lambda values: _Int8(list(map(_INTEGER, values)), _INT8)
    if type(type_) in (String, Text):
        return lambda values: _Text(list(map(_encoded, values)), _TEXT)
    return list


def _as_binary(found: re.Match[str]) -> str:
    return found[0] if found[0] == "%%" else found[0][:-1] + "b"


def _encoded(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _driver(connection: SqlalchemyConnection) -> DriverConnection:
    """Return psycopg's connection, which under asyncio is in a wrapper of SQLAlchemy's."""
    # Not its `driver_connection`, which is None where the connection is detached from its pool.
    dbapi_connection: Any = connection.connection.dbapi_connection
    driver: Any = connection.dialect.get_driver_connection(dbapi_connection)
    return driver  # type: ignore[no-any-return]


class _InBinary:
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.format = Format.BINARY


class _BinaryCursor(_InBinary, Cursor[Any]):
    """A cursor whose results come in binary."""


class _AsyncBinaryCursor(_InBinary, AsyncCursor[Any]):
    """The same for asyncio."""


@contextmanager
def results_in_binary(connection: DriverConnection) -> Iterator[None]:
    """Have the results of a connection's new cursors come in binary."""
    driver: Any = connection
    before = driver.cursor_factory
    driver.cursor_factory = _AsyncBinaryCursor if isinstance(driver, AsyncConnection) else _BinaryCursor
    try:
        yield
    finally:
        driver.cursor_factory = before


def same_in_binary(description: Sequence[Any] | None) -> bool:
    """Return whether a result has the same values in binary."""
    return description is not None and all(one.type_code in _SAME_IN_BINARY for one in description)


class BinaryRowReader(RowReader):
    """Reads rows in binary, from the second query on, where the first result shows the same values."""

    def __init__(self) -> None:
        self._binary = False

    def rows(
        self, connection: SqlalchemyConnection, query: Select[Any], parameters: dict[str, Any]
    ) -> Sequence[Any]:
        """Return the rows of a query."""
        with results_in_binary(_driver(connection)) if self._binary else nullcontext():
            result = connection.execute(query, parameters)
        self._binary = result.cursor is not None and same_in_binary(result.cursor.description)
        return private.raw_rows(result)


def binary_writer(batch: BatchUpdate, dialect: Dialect) -> Write:
    """Return the writer that runs an update from arrays, with these in binary.

    As text psycopg would take each value apart by a regular expression.
    """
    packers = {name: packer(type_) for name, type_ in batch.parameters.items()}
    of_bytes = [name for name, type_ in batch.parameters.items() if isinstance(type_, RawBytes)]

    @cache
    def written(joined: frozenset[str]) -> str:
        # A doubled percent sign is part of a name.
        return re.sub(r"%%|%\(\w+\)s", _as_binary, str(statement(batch, joined).compile(dialect=dialect)))

    def write(connection: SqlalchemyConnection, columns: Sequence[Values]) -> int:
        register(_driver(connection))
        given = dict(zip(packers, columns, strict=True))
        lengths = {name: length for name in of_bytes if (length := _one_length(given[name]))}
        parameters = {
            name: b"".join(values) if name in lengths else packers[name](values)
            for name, values in given.items()
        }
        parameters |= {length_of(name): length for name, length in lengths.items()}
        parameters |= bounds(batch, columns)
        return connection.exec_driver_sql(written(frozenset(lengths)), parameters).rowcount

    return write


def _one_length(values: Values) -> int | None:
    """Return the length of all values, if they share one and none is NULL."""
    if None in values:
        return None
    lengths = set(map(len, values))
    return lengths.pop() if len(lengths) == 1 else None
