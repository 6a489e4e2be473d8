"""The audit trail: key events in an append-only table, each row with the hash of the row before it.

What changes keys is written in the transaction of the change. That a DEK was opened cold is written a moment
later, many at once, so that no request waits for the chain. There is never a row for a single value.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.forks import watch_forks
from sqlalchemy_cmk.keys.audit_chain import (
    BEGINNING,
    AuditEntry,
    AuditEvent,
    AuditVerdict,
    Stamped,
    chained,
    verify_chain,
)
from sqlalchemy_cmk.keys.database import KeyDatabase
from sqlalchemy_cmk.keys.later import Later

PAGE = 1000
LONGEST_NAME = 200
LONGEST_DETAIL = 500


class AuditTrail:
    """Appends events, and finds rows that were changed, removed or put in another order.

    Args:
        database: where the key tables are.
        later: writes what nobody waits for.
        actor: who acts: a text, or a function that returns one (the user of the current request, say);
            by default the user that the process runs as.
    """

    def __init__(
        self, database: KeyDatabase, later: Later, actor: str | Callable[[], str] | None = None
    ) -> None:
        self._database = database
        self._later = later
        self._actor = actor
        self._table = database.tables.audit
        self._head = database.tables.audit_head
        self._waiting: list[Stamped] = []
        self._lock = threading.Lock()
        watch_forks(self)

    def append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Write events in the caller's transaction, as its last statements: they take the chain's lock."""
        self._append(connection, [self._stamped(event) for event in events])

    def soon(self, event: AuditEvent) -> None:
        """Write an event soon, in a transaction of its own."""
        with self._lock:
            self._waiting.append(self._stamped(event))
        self._later.do("audit", self._write_waiting)

    def entries(self, tenant: str | None = None, last: int | None = None) -> list[AuditEntry]:
        """Return the trail in order, or the last so many rows of it; of one tenant, or of all."""
        self._later.flush()
        statement = select(self._table).order_by(self._table.c.seq.desc()).limit(last)
        if tenant is not None:
            statement = statement.where(self._table.c.tenant == tenant)
        return self._read(statement)[::-1]

    def verify(self, noted: str | None = None) -> AuditVerdict:
        """Check every link of the trail.

        Args:
            noted: the head's hash from an earlier verification, kept elsewhere: it has to be there still.
        """
        self._later.flush()
        # The head moves in the transaction that adds rows: read after them it can only be further on.
        newest = self._database.run(lambda c: c.execute(select(func.max(self._table.c.seq))).scalar())
        head = self._database.run(lambda c: c.execute(select(self._head)).first())
        seq, last = (head.seq, head.hash) if head else (0, BEGINNING)
        verdict = verify_chain(self._up_to(seq), (seq, last), noted)
        if newest is None or newest <= seq:
            return verdict
        forged = f"rows {seq + 1} to {newest} were added past the end"
        return replace(verdict, problems=(*verdict.problems, forged))

    def after_fork(self) -> None:
        """Leave the parent's events to the parent."""
        self._waiting = []
        self._lock = threading.Lock()

    def _write_waiting(self) -> None:
        with self._lock:
            events = list(self._waiting)
        if not events:
            return
        try:
            self._database.run(lambda connection: self._append(connection, events), patient=False)
        except IntegrityError:  # the very first row: another process made the head
            self._database.run(lambda connection: self._append(connection, events), patient=False)
        with self._lock:
            del self._waiting[: len(events)]

    def _append(self, connection: Connection, events: Sequence[Stamped]) -> None:
        # The first statement takes the lock of the chain's head, on every database.
        longer = update(self._head).where(self._head.c.id == 1).values(seq=self._head.c.seq + len(events))
        if connection.execute(longer).rowcount == 0:
            connection.execute(insert(self._head).values(id=1, seq=len(events), hash=BEGINNING))
        seq, last = connection.execute(select(self._head.c.seq, self._head.c.hash)).one()
        entries = chained(seq - len(events), last, events)
        connection.execute(insert(self._table), [asdict(entry) for entry in entries])
        connection.execute(update(self._head).values(hash=entries[-1].hash))

    def _up_to(self, end: int) -> Iterator[AuditEntry]:
        """Read the rows up to the head that was read before, page by page: others append meanwhile."""
        seq = self._table.c.seq
        page = select(self._table).where(seq <= end).order_by(seq).limit(PAGE)
        after = -1
        while True:
            rows = self._read(page.where(seq > after))
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1].seq

    def _read(self, statement: Select[Any]) -> list[AuditEntry]:
        rows = self._database.run(lambda connection: connection.execute(statement).all())
        return [AuditEntry(*tuple[Any, ...](row)) for row in rows]

    def _stamped(self, event: AuditEvent) -> Stamped:
        actor = self._actor() if callable(self._actor) else self._actor or _user()
        origin = f"{socket.gethostname()} process {os.getpid()}"
        moment = datetime.now(UTC).isoformat(timespec="microseconds")
        return Stamped(moment, actor[:LONGEST_NAME], origin[:LONGEST_NAME], _shortened(event))


def _shortened(event: AuditEvent) -> AuditEvent:
    if len(event.detail) <= LONGEST_DETAIL:
        return event
    return replace(event, detail=event.detail[:LONGEST_DETAIL])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
