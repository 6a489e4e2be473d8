"""What a process knows of the database's search indexes, looked up again every few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, inspect, select, update

from sqlalchemy_cmk.errors import KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.indexes.records import (
    NOTHING_RECORDED,
    SEEN_WITHIN,
    IndexState,
    IndexView,
    StoredIndex,
)
from sqlalchemy_cmk.keys.indexes.table import make_indexes_table
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.keys.storage.callers import lent
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.runtime.clock import as_utc, this_second

_STATES = {state.value: state for state in IndexState}
_PURPOSES = {one.value: one for one in Purpose if one.is_for_tokens}


class IndexCatalogue:
    """Reads and writes the table of search indexes.

    Args:
        database: the database of the key tables.
        clock: returns monotonic seconds.

    Every method raises :class:`KeyUnavailable` where the table cannot be read or written now, and
    :class:`TamperedError` where it holds what the library has not written.
    """

    def __init__(self, database: KeyDatabase, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self.table = database.tables_of(make_indexes_table)
        self._is_there = False
        # What was seen, and until when it may be used. Of two threads that look at once, either may be last.
        self._seen: tuple[IndexView, float | None] = NOTHING_RECORDED, None

    @property
    def last_view(self) -> IndexView:
        """What was seen last, however long ago."""
        return self._seen[0]

    @property
    def is_due(self) -> bool:
        """Whether what was seen is so old that it has to be looked up again."""
        until = self._seen[1]
        return until is None or self._clock() >= until

    def view(self) -> IndexView:
        """Return the indexes as they were at most :data:`SEEN_WITHIN` seconds ago."""
        return self._looked_up() if self.is_due else self._seen[0]

    def forget(self) -> None:
        """Look the indexes up again at the next question."""
        self._seen = self._seen[0], None

    def start_anew(self) -> None:
        """Forget that the table is there: this process has dropped it."""
        self._is_there = False
        self.forget()

    def stored(self) -> list[StoredIndex]:
        """Return the indexes that are recorded now."""
        return self._database.run(self._read_committed)

    def read(self, connection: Connection) -> list[StoredIndex]:
        """Return the indexes that a connection sees recorded; none where the table is missing."""
        return stored_in(connection, self.table) if self._sees_table(connection) else []

    def record(self, connection: Connection, stored: Iterable[StoredIndex]) -> None:
        """Record hidden columns, in place of what was recorded of them."""
        record_in(connection, self.table, stored)
        self.forget()

    def erase(self, connection: Connection, stored: StoredIndex) -> None:
        """Record a hidden column no more."""
        connection.execute(delete(self.table).where(*_same(self.table, stored)))
        self.forget()

    def erase_all(self, connection: Connection, schema: str | None, table: str) -> None:
        """Record the hidden columns of a table no more."""
        t = self.table.c
        connection.execute(delete(self.table).where(t.schema_name == (schema or ""), t.table_name == table))
        self.forget()

    def change(self, connection: Connection, stored: StoredIndex, state: IndexState) -> bool:
        """Record that a hidden column has come into another state; ``False`` if it is not as it was."""
        t = self.table.c
        same = (*_same(self.table, stored), t.state == stored.state.value)
        values = {"state": state.value, "since": this_second()}
        done = connection.execute(update(self.table).where(*same).values(values)).rowcount == 1
        self.forget()
        return done

    def _looked_up(self) -> IndexView:
        # Counted from before the look: nothing is used for longer, however long the database takes.
        until = self._clock() + SEEN_WITHIN
        new, before = IndexView.of_all(self._read_now()), self._seen[0]
        # The same object for the same indexes: what others have worked out holds.
        view = before if before.by_table == new.by_table and before is not NOTHING_RECORDED else new
        self._seen = view, until
        return view

    def _read_now(self) -> list[StoredIndex]:
        try:
            return self._database.run(self._read_committed, wait_for_lock=lent() is None)
        except KeyUnavailable:
            caller = lent()
            if caller is None:
                raise
        # Its transaction holds the lock of the whole database, so that nobody else writes meanwhile; or there
        # is no other connection left.
        return self.read(caller)

    def _read_committed(self, connection: Connection) -> list[StoredIndex]:
        """Return the indexes that a connection sees that has changed nothing itself."""
        # What an application's transaction sees may be its own: others have no such table before it commits.
        self._is_there = self._sees_table(connection)
        return self.read(connection)

    def _sees_table(self, connection: Connection) -> bool:
        return self._is_there or inspect(connection).has_table(self.table.name)


class CallersCatalogue(IndexCatalogue):
    """Reads the table of search indexes on the connection of the statement that is about to be sent."""

    def _read_now(self) -> list[StoredIndex]:
        caller = lent()
        return super()._read_now() if caller is None else self._read_committed(caller)


def stored_in(connection: Connection, table: Table) -> list[StoredIndex]:
    """Return what the table of search indexes holds, as a connection sees it."""
    query = select(table).order_by(*table.primary_key)
    return [_stored(row) for row in connection.execute(query)]


def record_in(connection: Connection, table: Table, stored: Iterable[StoredIndex]) -> None:
    """Record hidden columns in the table of search indexes, in place of what was recorded of them."""
    for one in stored:
        connection.execute(delete(table).where(*_same(table, one)))
        values = {
            "schema_name": one.schema,
            "table_name": one.table,
            "hidden_name": one.hidden,
            "column_name": one.column,
            "index_name": one.name,
            "slot": one.slot,
            "state": one.state.value,
            "purpose": one.purpose.value,
            "fingerprint": one.fingerprint,
            "definition": one.definition,
            "begun": one.begun,
            "since": one.since,
        }
        connection.execute(insert(table).values(values))


def _same(table: Table, stored: StoredIndex) -> tuple[Any, ...]:
    t = table.c
    return t.schema_name == stored.schema, t.table_name == stored.table, t.hidden_name == stored.hidden


def _stored(row: Row[Any]) -> StoredIndex:
    state, purpose = _STATES.get(row.state), _PURPOSES.get(row.purpose)
    if state is None or purpose is None or row.slot not in (0, 1):
        raise TamperedError(
            f"the table of search indexes has a state, a purpose or a slot of {row.table_name}."
            f"{row.hidden_name} that does not exist"
        )
    return StoredIndex(
        row.schema_name,
        row.table_name,
        row.hidden_name,
        row.column_name,
        row.index_name,
        row.slot,
        state,
        purpose,
        row.fingerprint,
        row.definition,
        as_utc(row.begun),
        as_utc(row.since),
    )
