"""Delivers one event to one webhook: read from the trail, verified, signed, posted. See :class:`Sender`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from random import SystemRandom

from sqlalchemy_cmk.errors import KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.audit.authentic import AuthenticRows
from sqlalchemy_cmk.keys.events.key_event import KeyEvent, key_event
from sqlalchemy_cmk.keys.events.messages import CONTENT_TYPE, cloud_event
from sqlalchemy_cmk.keys.events.outbox import UNADDRESSED, Delivery, Outbox
from sqlalchemy_cmk.keys.events.posting import NotPosted, post
from sqlalchemy_cmk.keys.events.signatures import sign
from sqlalchemy_cmk.keys.events.webhooks import Webhook, Webhooks
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked

logger = logging.getLogger("sqlalchemy_cmk.keys")

# Seconds for which a delivery belongs to who has begun it: more than an attempt takes, names looked up too.
LEASE = 120.0
# Seconds until the second attempt, which double at each further one, and no more than this.
FIRST_DELAY, LONGEST_DELAY = 5.0, 6 * 3600.0
# Seconds for which an event is tried.
PATIENCE = 3 * 24 * 3600.0
# The receiver says that it wants nothing any more: https://www.rfc-editor.org/rfc/rfc9110#name-410-gone
GONE = 410

_random = SystemRandom()


class Outcome(Enum):
    """How an attempt ended."""

    SENT = "sent"
    ADDRESSED = "addressed"
    """The tenant's webhooks were looked up; each has a delivery of its own now."""
    FAILED = "failed"
    """It is tried again later."""
    DEAD = "dead"
    """It is not tried again."""
    TAKEN = "taken"
    """Somebody else has it."""
    BUSY = "busy"
    """SQLite's lock is taken, and was not waited for."""


class Sender:
    """Delivers events. Nothing that the table of deliveries says is believed but that something waits.

    Args:
        outbox: the table of deliveries.
        rows: the rows of the trail, as far as they are authentic.
        webhooks: the application's.
        clock: returns seconds since 1970: every process reads the same times in the table.
    """

    def __init__(
        self,
        outbox: Outbox,
        rows: AuthenticRows,
        webhooks: Webhooks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._rows = rows
        self._webhooks = webhooks
        self._clock = clock

    def deliver(self, one: Delivery) -> Outcome:
        """Try one delivery.

        Raises:
            KeyUnavailable: the tables or the record key cannot be reached now; it is tried again.
            ConfigurationError: the tables do not exist.
        """
        now = self._clock()
        try:
            claimed = self._outbox.claim(one, now, now + LEASE)
        except DatabaseLocked:
            return Outcome.BUSY
        if claimed is None:
            return Outcome.TAKEN
        try:
            event = self._event(claimed)
        except TamperedError as error:
            return self._give_up(claimed, str(error))
        try:
            webhooks = self._webhooks.of(event.tenant)
        except KeyUnavailable:
            raise
        except Exception as error:  # an application's function may raise anything
            return self._failed(claimed, f"the application's webhooks: {type(error).__name__}")
        if claimed.webhook == UNADDRESSED:
            wanting = [name for name, webhook in webhooks.items() if event.kind in webhook.wanted]
            self._outbox.address(claimed, wanting, now)
            return Outcome.ADDRESSED
        webhook = webhooks.get(claimed.webhook)
        if webhook is None:
            return self._failed(claimed, "the application names no such webhook for this tenant")
        return self._post(claimed, webhook, event)

    def _event(self, one: Delivery) -> KeyEvent:
        try:
            event = key_event(self._rows.row(one.seq))
        except ValueError:  # its time is none; without a record key anybody can write such a row
            event = None
        if event is None or event.tenant != one.tenant:
            raise TamperedError("this delivery is none that was written here")
        return event

    def _post(self, one: Delivery, webhook: Webhook, event: KeyEvent) -> Outcome:
        body = cloud_event(event, webhook.source)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "sqlalchemy_cmk"}
        headers |= sign(webhook.keys, event.id, int(self._clock()), body)
        try:
            status = post(webhook.url, headers, body)
        except NotPosted as error:
            return self._failed(one, str(error))
        if 200 <= status < 300:
            self._outbox.done(one)
            return Outcome.SENT
        if status == GONE:
            return self._give_up(one, f"HTTP {status}")
        return self._failed(one, f"HTTP {status}")

    def _failed(self, one: Delivery, problem: str) -> Outcome:
        now = self._clock()
        if now >= one.since + PATIENCE:
            return self._give_up(one, problem)
        # Between half of it and all of it, so that receivers that come back are not met by all at once.
        again = now + delay(one.attempts) * (1 - _random.random() / 2)
        self._outbox.failed(one, problem, again)
        if one.webhook != UNADDRESSED:
            self._outbox.postpone(one, now, again)
        return Outcome.FAILED

    def _give_up(self, one: Delivery, problem: str) -> Outcome:
        self._outbox.failed(one, problem, None)
        logger.warning(
            "the event of row %s of the audit trail is given up for the webhook %r of tenant %r: %r; see cmk "
            "events list",
            one.seq,
            one.webhook,
            one.tenant,
            problem,
        )
        return Outcome.DEAD


def delay(attempts: int) -> float:
    """Return how many seconds to wait at most after so many attempts, 1 or more."""
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 30)))
