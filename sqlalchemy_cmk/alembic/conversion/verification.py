"""Verifies, before a swap, that the shadow holds the value of every row.

Most of it is done while the application writes: rows are compared range by range, and the database's digest
of each range is kept. Under the swap's lock only ranges with another digest by then are compared, so that
writes are found however they were made: those that fire no trigger, too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Connection, and_, bindparam, func, null, update
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.alembic.configuration import keyring_of
from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.rekey.batches import Batches
from sqlalchemy_cmk.rekey.comparing import Comparing
from sqlalchemy_cmk.rekey.keys import Key
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.writing import batch_update_of
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)

RANGE_ROWS = 10_000
# Under the lock at most so many rows are converted, and so many ranges compared: about a second's work.
MAX_ROWS = 2_000
MAX_RANGES = 20


@dataclass(slots=True)
class Range:
    """Rows between two keys, and their digest when they were compared; ``None`` if they have to be."""

    after: Key | None
    up_to: Key | None
    digest: Any = None


class Verification:
    """Compares a column with its shadow, and converts the last rows under the lock.

    Args:
        operations: Alembic's.
        plan: the conversion; its shadow is there.
    """

    def __init__(self, operations: Operations, plan: Plan) -> None:
        keyring = keyring_of(operations.migration_context)
        self._plan = plan
        self._connections = keyring.connections
        # A connection of its own: the migration's is in no transaction that may end here.
        with operations.get_bind().engine.connect() as connection:
            self._layout = Layout(plan.job, connection)
            update_ = batch_update_of(self._layout)
            self._write = self._layout.database.batch_writer(update_, connection)
        self._batches = Batches(keyring, plan.job, self._layout)
        self._comparing = Comparing(keyring, self._layout)
        self._ranges = [Range(None, None)]

    def ahead(self) -> bool:
        """Compare the rows that were written since the last call; empty the shadows that are out of date.

        Returns:
            Whether one was emptied: it is to be copied again.
        """
        if self._digest_column is None:
            return False  # everything is compared under the lock
        return self._connections.use(self._ahead)

    def finish(self, connection: Connection, *, however_long: bool) -> bool:
        """Convert the last rows and compare those that changed, while others cannot write the table.

        Args:
            connection: the one that holds the lock.
            however_long: whatever is left to do; otherwise no more than takes about a second.

        Returns:
            Whether the shadow holds the value of every row.

        Raises:
            TamperedError: a value does not come back as it was.
        """
        for attempt in range(2):
            if not self._converted(connection):
                return False
            changed = [one for one in self._ranges if self._has_changed(connection, one)]
            if len(changed) > MAX_RANGES and not however_long:
                return False
            different = [key for one in changed for key in self._different(connection, one)]
            if not different:
                return True
            if attempt:
                raise TamperedError(
                    f"{self._plan.where}: {len(different)} values do not come back as they were, and the "
                    "column stays as it is; the first is that of the row with key "
                    f"{printable(self._layout.pack(different[0]))}"
                )
            self._empty(connection, different)
        return False

    def _ahead(self, connection: Connection) -> bool:
        emptied = False
        for one in self._ranges if len(self._ranges) > 1 else self._split(connection):
            self._layout.database.begin_snapshot(connection)
            digest = self._digest(connection, one)
            if digest != one.digest:
                different = self._different(connection, one)
                connection.rollback()
                one.digest = None if different else digest
                self._empty(connection, different)
                connection.commit()
                emptied = emptied or bool(different)
            connection.rollback()
        return emptied

    def _split(self, connection: Connection) -> list[Range]:
        key, ranges, after = self._layout.key, list[Range](), None
        while True:
            rows = self._layout.every_row(after, None, *key).order_by(*key)
            found = connection.execute(rows.offset(RANGE_ROWS - 1).limit(1)).first()
            up_to = None if found is None else tuple(found)
            ranges.append(Range(after, up_to))
            if up_to is None:
                connection.rollback()
                self._ranges = ranges
                return ranges
            after = up_to

    def _converted(self, connection: Connection) -> bool:
        """Convert the rows whose shadow is empty; ``False`` if some are left for the job."""
        layout, rows = self._layout, 0
        try:
            while batch := self._batches.first(connection, MAX_ROWS):
                rows += batch.rows
                limit = layout.statement_limit
                fits = limit is None or layout.database.fits(batch.changes, limit)
                if batch.count < batch.rows or not fits or rows > MAX_ROWS:
                    return False
                if self._write(connection, batch.changes) < batch.count:
                    return False
        except DBAPIError as error:
            # It may hold values; the job says what does not fit.
            if layout.database.is_conflict(error):
                raise
            return False
        except self._batches.unreadable:
            return False
        return True

    def _different(self, connection: Connection, one: Range) -> list[Key]:
        different, after = list[Key](), one.after
        while True:
            compared = self._comparing.compare(connection, after, one.up_to, RANGE_ROWS)
            different += compared.different
            if compared.is_last:
                return different
            after = compared.last

    def _empty(self, connection: Connection, keys: Sequence[Key]) -> None:
        """Empty the shadows of some rows."""
        if not keys:
            return
        log.warning("%s: %d values were out of date, and are copied again", self._plan.where, len(keys))
        layout, shadow = self._layout, self._plan.shadow
        same = and_(*(one == bindparam(f"cmk_{i}") for i, one in enumerate(layout.key)))
        statement = update(layout.table).where(same).values({shadow: null()})
        connection.execute(statement, [{f"cmk_{i}": part for i, part in enumerate(key)} for key in keys])

    def _has_changed(self, connection: Connection, one: Range) -> bool:
        return one.digest is None or self._digest(connection, one) != one.digest

    def _digest(self, connection: Connection, one: Range) -> Any:
        digest = self._digest_column
        if digest is None:
            return None
        query = self._layout.every_row(one.after, one.up_to, func.count(), digest)
        return tuple(connection.execute(query).one())

    @property
    def _digest_column(self) -> Any:
        layout, plan = self._layout, self._plan
        owner = [] if layout.tenant is None else [layout.tenant]
        values = [layout.column(plan.column), layout.column(plan.shadow)]
        return layout.database.rows_digest([*layout.key, *owner, *values, *layout.identities.columns])
