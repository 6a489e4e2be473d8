"""The audit trail: key events in an append-only table, each row with the hash of the row before it.

A change of keys is recorded in the transaction of the change. A cold open of a DEK is recorded a moment
later, many in one transaction, so that no request waits for the chain. Single values are never recorded.

Every row, and the head that says where the trail ends, has a MAC under the record key. Rows are appended only
to a head that is authentic and has nothing after it. To any other they are appended after a row that says so:
the events are kept, and the break stays visible.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.keys.audit.authentication import (
    Authentication,
    Authenticity,
    authenticated,
    authenticated_head,
)
from sqlalchemy_cmk.keys.audit.chain import AuditEntry, AuditEvent, AuditHead, Stamped
from sqlalchemy_cmk.keys.audit.emission import emit
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.export import ExportFormat, export_lines
from sqlalchemy_cmk.keys.audit.heads import Heads
from sqlalchemy_cmk.keys.audit.others import Others
from sqlalchemy_cmk.keys.audit.reasons import require
from sqlalchemy_cmk.keys.audit.rows import TrailRows
from sqlalchemy_cmk.keys.audit.stamping import Stamp
from sqlalchemy_cmk.keys.audit.verification import DOUBTS, AuditVerdict, Verification
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from sqlalchemy_cmk.runtime.clock import utc_now
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.kinds import COUNT, Kind, takes, text
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner


class AuditTrail:
    """Appends events, and detects rows that were changed, removed, reordered or added by somebody else.

    Args:
        database: the database of the key tables.
        background: writes events that no caller waits for.
        actor: the acting user, or a function that returns it (for the current request, for
            example); by default the user that the process runs as.
        record_keys: they authenticate the trail; ``None`` if there are none, so that anyone who can write to
            the database can write the trail.
        reason_for: the kinds of events of which somebody has to say why, before anything is changed.
        others: receive what is appended.

    Whatever reads or writes the trail raises :class:`KeyUnavailable` when the tables or the record key cannot
    be reached now, and :class:`ConfigurationError` when they do not exist.
    """

    def __init__(
        self,
        database: KeyDatabase,
        background: BackgroundWriter,
        actor: str | Callable[[], str] | None = None,
        record_keys: RecordKeys | None = None,
        reason_for: frozenset[EventKind] = frozenset(),
        others: Others | None = None,
    ) -> None:
        self._database = database
        self._reason_for = reason_for
        self._others = others
        self._background = background
        self._stamp = Stamp(actor)
        self._authentication = Authentication(record_keys)
        self._rows = TrailRows(database)
        self._waiting: list[Stamped] = []
        self._seen = 0
        self._lock = threading.Lock()
        watch_forks(self)

    def append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Append events in the caller's transaction, as its last statements: they take the chain's lock.

        Logs get them once the transaction has been committed.
        """
        self._append(connection, [self._stamp.on(event) for event in events])

    def require_reasons(self, events: Iterable[AuditEvent]) -> None:
        """Refuse a change of which nobody has said why, where the application asks for it.

        Raises:
            ConfigurationError: a reason is missing.
        """
        require(self._reason_for, events)

    def soon(self, event: AuditEvent) -> None:
        """Tell logs of an event now, and append it a moment later, in a transaction of its own."""
        stamped = self._stamp.on(event)
        emit(stamped)
        with self._lock:
            self._waiting.append(stamped)
        self._background.submit("audit", self._write_waiting)

    def now(self, event: AuditEvent) -> None:
        """Append an event in a transaction of its own."""
        stamped = self._stamp.on(event)
        self._in_own_transaction(partial(self._append, events=[stamped]))

    @takes(reason=text("a text that says why"))
    def adopt(self, reason: str) -> None:
        """Vouch for the rows so far, and authenticate the trail from here on.

        A trail that began without a record key needs it once, and a broken one when it was looked into. Rows
        that are not linked stay a problem.

        Args:
            reason: why, for the trail.

        Raises:
            ConfigurationError: there is no record key.
        """
        if not self._authentication.possible:
            raise ConfigurationError(
                "there is no record key that could authenticate the trail: give the keyring record_key="
            )
        self._background.flush()
        stamped = self._stamp.on(AuditEvent(EventKind.TRAIL_ADOPTED, PLATFORM_TENANT, detail=reason))
        self._in_own_transaction(partial(self._append, events=[stamped], adopt=True))

    @takes(tenant=text("a tenant's name").or_none, last=COUNT.or_none, after=COUNT)
    def entries(
        self, tenant: str | None = None, last: int | None = None, *, after: int = 0
    ) -> list[AuditEntry]:
        """Return rows of the trail, oldest first.

        Args:
            tenant: only this tenant's rows; ``None`` for every tenant's.
            last: only the last ``last`` of these rows; ``None`` for all.
            after: only rows after the one of this number.
        """
        self._background.flush()
        return self._rows.newest(tenant, last, after)

    @takes(since=Kind((datetime,), "a datetime").or_none)
    def export(
        self, tenant: object, since: datetime | None = None, *, form: ExportFormat = "jsonl"
    ) -> Iterator[str]:
        """Return a tenant's events as lines of JSON, for its owner to keep; no other tenant's are in them.

        ``cmk audit check-export`` checks such lines without the database.

        Args:
            tenant: the tenant's name.
            since: leaves out what was before this time; one without a time zone is in UTC.
            form: ``"jsonl"`` for the rows as they are stored, ``"ocsf"`` for events of the Open Cybersecurity
                Schema Framework.

        Raises:
            ConfigurationError: there is no such form.
        """
        name = key_owner(tenant)
        return export_lines(name, since, self.entries(name), self._authentication.key(), form)

    def known(self, tenants: Collection[str]) -> set[str]:
        """Return those of some tenants of which a DEK was ever made."""
        return self._rows.known(tenants)

    def heads(self) -> Heads:
        """Return where the trail and every tenant's keys stand, authenticated, to be kept outside.

        Raises:
            TamperedError: the trail's end is not authentic, so it is not vouched for.
        """
        self._background.flush()
        epochs = self._rows.epochs()
        end = self.end()
        at = utc_now().isoformat(timespec="seconds")
        return Heads(at, end.seq, end.hash, epochs).authenticated(self._authentication.key())

    def end(self) -> AuditHead:
        """Return where the trail ends.

        Raises:
            TamperedError: its end is not authentic, so it is not vouched for.
        """
        self._background.flush()
        seen = self._seen
        head, beyond = self._rows.end()
        doubt = self._doubt(head, beyond > 0, seen)
        if doubt:
            raise TamperedError(f"{doubt}: run cmk audit verify")
        return head or AuditHead()

    def actor(self) -> str:
        """Return who acts now, as rows of the trail name them."""
        return self._stamp.actor()

    @takes(heads=Kind((Heads,), "the Heads that keyring.audit.heads() returned").or_none)
    def verify(self, heads: Heads | None = None) -> AuditVerdict:
        """Check every link and every MAC of the trail.

        Args:
            heads: heads that were noted earlier and kept outside; the trail has to hold their last row, and
                no tenant's keys may be older than they say.
        """
        self._background.flush()
        seen = self._seen
        # Whatever is read first can only be found further on by what is read later.
        epochs = self._rows.epochs()
        head, beyond = self._rows.end()
        checker = self._authentication.checker() if self._authentication.possible else None
        check = Verification(checker, heads)
        for entry in self._rows.up_to(head.seq if head else 0):
            check.row(entry)
        check.end(head, beyond, seen)
        check.tenants(epochs, self._rows.epochs())
        check.noted(epochs)
        verdict = check.verdict()
        if head is not None and not verdict.problems:
            with self._lock:
                self._seen = max(self._seen, head.seq)
        return verdict

    def start_anew(self) -> None:
        """Forget how far the trail was seen, and what waits to be written: this process has dropped it."""
        with self._lock:
            self._waiting = []
            self._seen = 0

    def after_fork(self) -> None:
        """Leave the parent's events to the parent."""
        self._waiting = []
        self._lock = threading.Lock()

    def _write_waiting(self) -> None:
        with self._lock:
            events = list(self._waiting)
        if not events:
            return
        write = partial(self._append, events=events, told=True)
        self._in_own_transaction(write, wait_for_lock=False)
        with self._lock:
            del self._waiting[: len(events)]

    def _in_own_transaction(self, work: Callable[[Connection], None], *, wait_for_lock: bool = True) -> None:
        # A record key that is made at its first use looks at the tables: not while this holds a connection.
        self._authentication.key()
        try:
            self._database.run(work, wait_for_lock=wait_for_lock)
        except IntegrityError:  # the very first row: another process made the head
            self._database.run(work, wait_for_lock=wait_for_lock)

    def _append(
        self, connection: Connection, events: Sequence[Stamped], *, told: bool = False, adopt: bool = False
    ) -> None:
        if not events:
            return
        key = self._authentication.key()  # before the lock: it may come from far
        head, newest = self._rows.lock(connection)
        if key is not None and head is not None and head.key_id != key.id:
            key = self._authentication.key()  # another process has rotated it meanwhile
        end, tell = head or AuditHead(), () if told else events
        doubt = self._doubt(head, newest is not None and newest != end.seq, self._seen)
        seq, last = end.seq, end.hash
        if doubt:
            found = self._rows.last(connection)
            seq, last = found if found[0] >= seq else (seq, last)
        if doubt and not adopt:
            broken = self._stamp.on(AuditEvent(EventKind.TRAIL_BROKEN, PLATFORM_TENANT, detail=doubt))
            events, tell = [broken, *events], [broken, *tell]
        entries = authenticated(seq, last, events, key)
        new_head = authenticated_head(entries[-1].seq, entries[-1].hash, key)
        self._rows.add(connection, entries, new_head, new=head is None)
        if self._others is not None:
            self._others.write(connection, entries)

        def committed() -> None:
            with self._lock:
                # A trail that was cut back is noted once, and then goes on from where it is.
                self._seen = new_head.seq if doubt else max(self._seen, new_head.seq)
            for event, entry in zip(events, entries, strict=True):
                if event in tell:
                    emit(event, entry)
            if self._others is not None:
                self._others.committed(entries)

        self._database.after_commit(connection, committed)

    def _doubt(self, head: AuditHead | None, strays: bool, seen: int) -> str:
        """Return why the end of the trail is not the one that was written last; empty if it is."""
        if head is None:
            return "the head of the trail was removed" if strays or seen else ""
        if strays:
            return f"the last row is not row {head.seq}, the one that the head names"
        if head.seq < seen:
            return f"it was cut back to row {head.seq}, and this process has seen row {seen}"
        if self._authentication.possible:
            authenticity = self._authentication.checker().head(head)
            if authenticity is not Authenticity.AUTHENTIC:
                return f"the head of the trail is not authentic: {DOUBTS[authenticity]}"
        return ""
