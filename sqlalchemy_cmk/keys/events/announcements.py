"""Tells others of what is appended to the audit trail. See :class:`Announcements`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection

from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.events.courier import Courier
from sqlalchemy_cmk.keys.events.key_event import KeyEventKind, key_event
from sqlalchemy_cmk.keys.events.listeners import Listeners
from sqlalchemy_cmk.keys.events.outbox import Outbox


class Announcements:
    """Tells callbacks and webhooks of rows of the trail.

    Webhooks by a row of the table of deliveries, in the transaction that appends the row of the trail: both
    are written, or neither. Callbacks once that is committed.

    Args:
        listeners: the callbacks.
        count: counts an event of a kind, for metrics.
        outbox: the table of deliveries; ``None`` if there is no webhook.
        courier: sends what is in it.
    """

    def __init__(
        self,
        listeners: Listeners,
        count: Callable[[KeyEventKind], None],
        outbox: Outbox | None,
        courier: Courier,
    ) -> None:
        self._listeners = listeners
        self._count = count
        self._outbox = outbox
        self._courier = courier

    def write(self, connection: Connection, entries: Iterable[AuditEntry]) -> None:
        """Note rows for webhooks, in the transaction that appends them."""
        if self._outbox is not None:
            self._outbox.write(connection, entries, time.time())

    def committed(self, entries: Sequence[AuditEntry]) -> None:
        """Tell of rows that have been committed. Never raises, and waits for nobody."""
        events = [one for one in map(key_event, entries) if one is not None]
        if self._outbox is not None:
            self._courier.look(at_once=bool(events))
        for one in events:
            self._count(one.kind)
        self._listeners.tell(events)
