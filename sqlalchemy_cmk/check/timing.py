"""How long a conversion takes here, from rows that are read, sealed under a key made for it, and written.

They are written into a temporary table of the same session, which is dropped. What the estimate leaves out:
the write-ahead log, the table's own indexes, other writers, and a cold cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from time import perf_counter
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select, type_coerce
from sqlalchemy.types import NullType

from sqlalchemy_cmk.check.subjects import Subject
from sqlalchemy_cmk.ciphers import cipher_for
from sqlalchemy_cmk.databases.batch_update import BatchUpdate, RawBytes
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.format import DEK_BYTES, DEK_ID_BYTES, column_key, header_of
from sqlalchemy_cmk.rekey.engine import RATE
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.remaining import rows_expected
from sqlalchemy_cmk.runtime.secret import Secret

SAMPLE_ROWS = 2_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a conversion takes.

    Attributes:
        rows: about how many rows the table has.
        sampled: how many were measured.
        row_seconds: seconds for one row: read and sealed twice, as the engine verifies it, and written once.
        bytes_before: the mean bytes of a plain value as it is encoded.
        bytes_after: the mean bytes of a sealed one.
    """

    rows: int
    sampled: int
    row_seconds: float
    bytes_before: float
    bytes_after: float

    @property
    def seconds(self) -> float:
        """Seconds for all rows, at no more than the engine's default rate."""
        return self.rows * max(self.row_seconds, 1 / RATE)


def measured(layout: Layout, subject: Subject, connection: Connection) -> Timing:
    """Measure a sample of a table's rows.

    Args:
        layout: the conversion's table.
        subject: the column.
        connection: reads the rows, and writes the temporary table.
    """
    rows = rows_expected(layout, connection)
    column, sealed = layout.column(layout.job.moves[0].source), subject.sealed
    query = select(*layout.key, column).limit(SAMPLE_ROWS)
    reading, found = _timed(lambda: connection.execute(query).all())
    values = [row[-1] for row in found if row[-1] is not None]
    if not values:
        return Timing(rows, len(found), 0.0, 0.0, 0.0)
    suite = sealed.scheme.suite
    key = column_key(Secret(urandom(DEK_BYTES)), suite, sealed.context)
    cipher = cipher_for(key, header_of(suite, urandom(DEK_ID_BYTES)), sealed.context)

    def seal() -> tuple[list[bytes], list[bytes]]:
        plaintexts = list(_encoded(sealed.codec.encode, values))
        return plaintexts, cipher.seal_all(plaintexts)

    sealing, (plain, stored) = _timed(seal)
    writing = _written(layout, sealed.column.type, stored, connection)
    return Timing(
        rows,
        len(found),
        (2 * (reading + sealing) + writing) / len(found),
        sum(map(len, plain)) / len(values),
        sum(map(len, stored)) / len(values),
    )


def _encoded(encode: Callable[[Any], bytes], values: list[Any]) -> Any:
    """Encode values as the driver reads them; one that does not fit counts as its text."""
    for value in values:
        try:
            yield encode(value)
        except InvalidValue:
            yield str(value).encode()


def _written(layout: Layout, type_: Any, stored: list[bytes], connection: Connection) -> float:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    target = Column("value", type_.load_dialect_impl(connection.dialect))
    table = Table("cmk_check_sample", MetaData(), key, target, prefixes=["TEMPORARY"])
    numbers = list(range(len(stored)))
    table.create(connection)
    try:
        connection.execute(insert(table), [{"id": number} for number in numbers])
        guard = type_coerce(target, NullType())
        batch = BatchUpdate(table, (key,), [guard], [target], [RawBytes()], overwrites=True)
        write = layout.database.batch_writer(batch, connection)
        seconds, _ = _timed(lambda: write(connection, [numbers, [None] * len(stored), stored]))
        return seconds
    finally:
        table.drop(connection)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = perf_counter()
    done = work()
    return perf_counter() - began, done
