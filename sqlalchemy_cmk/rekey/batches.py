"""Batches of rows: read, opened and sealed, with no lock held and nothing written."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.batch import Batch
from sqlalchemy_cmk.rekey.batch_keys import BatchKeys
from sqlalchemy_cmk.rekey.converting import Conversion, positions_of
from sqlalchemy_cmk.rekey.job import Job
from sqlalchemy_cmk.rekey.joint_tokens import JointTokens
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.keys_ahead import KeysAhead
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.read_back import ReadBack
from sqlalchemy_cmk.rekey.reading import Reader
from sqlalchemy_cmk.rekey.report import Damaged
from sqlalchemy_cmk.rekey.values import MoveValues


class Batches:
    """Reads rows in the order of their keys and converts their values.

    Args:
        keyring: opens the DEKs.
        job: what is to be done.
        layout: the job's table.
        only_check: open every value, and keep nothing to write.
    """

    def __init__(self, keyring: Keyring, job: Job, layout: Layout, *, only_check: bool = False) -> None:
        self._job = job
        self._layout = layout
        self._keys = BatchKeys(keyring.keys)
        self._ahead = KeysAhead(self._keys, job.moves, only_check=only_check)
        database = keyring.connections.database
        self._moves = [MoveValues(self._keys, move, database, only_check=only_check) for move in job.moves]
        self._positions = positions_of(layout)
        self._reader = Reader(layout)
        self._read_backs = [] if job.makes_tokens else [ReadBack(layout, move) for move in job.moves]
        self._joint = JointTokens(self._keys, job.moves) if job.joins and not only_check else None

    def read(
        self, connection: Connection, after: Key | None, up_to: Key | None, size: int
    ) -> Generator[Batch, None, None]:
        """Return the batches from one key (exclusive) to another (inclusive).

        Args:
            connection: is used between two batches only, and left without a transaction.
            after: the key before the first row, or ``None``.
            up_to: the key of the last row, or ``None``.
            size: rows in a batch, at most.
        """
        limit, is_last = size, False
        while not is_last:
            batch, is_last = self._batch(connection, after, up_to, limit)
            if batch is None:
                return
            # After a batch of long values its number of rows is a better guess than the whole size.
            after, limit = batch.last, min(size, 10 * batch.rows)
            yield batch
            del batch  # the next is read without this one in memory

    @property
    def unreadable(self) -> tuple[type[Exception], ...]:
        """The errors of :meth:`first` that say that a stored value is none of its type."""
        return self._reader.unreadable

    def first(self, connection: Connection, limit: int) -> Batch | None:
        """Return the first rows that are left to convert, if there are any; the transaction goes on."""
        rows, _ = self._reader.fetch(connection, None, None, limit)
        return self._converted(connection, rows) if rows else None

    def _converted(self, connection: Connection, rows: Sequence[Any]) -> Batch:
        conversion = Conversion(self._job, self._layout, self._moves, self._positions, rows, self._joint)
        try:
            return conversion.batch(self._ahead, self._read_backs, connection)
        finally:
            self._keys.let_go()

    def _batch(
        self, connection: Connection, after: Key | None, up_to: Key | None, limit: int
    ) -> tuple[Batch | None, bool]:
        """Return the next rows, if there are any, and whether they are the last."""
        try:
            rows, is_last = self._reader.rows(connection, after, up_to, limit)
        except DBAPIError as error:
            # A stored value that its driver cannot read, such as an infinite date on PostgreSQL.
            if not self._layout.database.is_misfit(error):
                raise
            kind = type(error.orig).__name__
        except self._reader.unreadable as error:
            if isinstance(error, CmkError):
                raise
            # A stored value that its own type cannot read, such as a date 'unknown' on SQLite.
            kind = type(error).__name__
        else:
            if not rows:
                return None, True
            batch = self._converted(connection, rows)
            connection.rollback()
            return batch, is_last
        if limit > 1:
            return self._batch(connection, after, up_to, 1)[0], False
        return self._unreadable(connection, after, up_to, kind), False

    def _unreadable(self, connection: Connection, after: Key | None, up_to: Key | None, kind: str) -> Batch:
        key = connection.execute(self._layout.keys(after, up_to)).one()
        connection.rollback()
        columns = ", ".join(move.source for move in self._job.moves)
        damaged = Damaged(self._layout.pack(key), columns, f"it cannot be read as its type says ({kind})")
        width = len(key) + len(self._layout.guards) + len(self._job.targets)
        return Batch(tuple(key), 1, [[] for _ in range(width)], [damaged])
