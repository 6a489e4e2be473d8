"""Sends what waits in the background, so that no request waits for a webhook. See :class:`Courier`."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, wait
from functools import partial

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.events.outbox import Delivery, Outbox
from sqlalchemy_cmk.keys.events.sender import Outcome, Sender
from sqlalchemy_cmk.keys.storage.database import DatabaseLocked
from sqlalchemy_cmk.runtime.alarm import LOOK_EVERY, Alarm
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")

# Webhooks that are posted to at once, and of these those that have failed the last time.
AT_ONCE, FAILING_AT_ONCE = 8, 4
# Deliveries that one look reads.
PAGE = 200
# Seconds after which the table is looked at again, for what a process that has ended has left.
EVERY = 60.0
# Seconds after which it is looked at again at the earliest, unless somebody wakes it.
SOON = 0.5
# Seconds for which a keyring that is closed waits for what is under way. A webhook may hang for longer.
CLOSING = 1.0
# Seconds after which it is tried again to take SQLite's lock.
LOCKED_AGAIN, LOCKED_TRIES = 0.5, 60

# After these the others of the webhook wait as well.
_ENOUGH = (Outcome.FAILED, Outcome.BUSY)

# A tenant's webhook: its events go one after the other.
Line = tuple[str, str]


class Courier:
    """Looks at what is due, and has it sent on threads of its own, at most one event of a webhook at once.

    It begins when this process has written to the audit trail, and then looks once a minute: what a process
    has left that was killed is sent by the others.

    Args:
        outbox: the table of deliveries.
        sender: delivers one.
    """

    def __init__(self, outbox: Outbox, sender: Sender) -> None:
        self._outbox = outbox
        self._sender = sender
        self._lock = threading.Lock()
        self._under_way: dict[Line, bool] = {}
        self._failing = False
        self._threads = Threads("cmk-webhooks", AT_ONCE)
        self._alarm = Alarm(self.ring, elapsed, LOOK_EVERY, "cmk-webhooks")
        watch_forks(self)

    def look(self, *, at_once: bool) -> None:
        """Look now, because something was written, or in a minute, at what others may have left."""
        self._alarm.set(elapsed() + (0 if at_once else EVERY))

    def ring(self) -> float:
        """Begin to send what is due, and return when to look again."""
        try:
            self._begin_all()
            next_at = self._outbox.next_at()
        except DatabaseLocked:
            return elapsed() + LOCKED_AGAIN
        except CmkError as error:
            self._note(error)
            return elapsed() + EVERY
        self._note(None)
        until = EVERY if next_at is None else next_at - time.time()
        # What is due and was not begun has come due just now, or its webhook is busy.
        return elapsed() + min(max(until, SOON), EVERY)

    def send(self) -> Counter[Outcome]:
        """Send what is due until nothing is, and return how the attempts have ended.

        Raises:
            KeyUnavailable: the tables or the record key cannot be reached now.
            ConfigurationError: the tables do not exist.
        """
        ended: Counter[Outcome] = Counter()
        locked = 0
        while locked < LOCKED_TRIES:
            begun = [self._begin(line, due) for line, due in self._due().items()]
            running = [one for one in begun if one is not None]
            wait(running)
            new = sum((one.result() for one in running), Counter[Outcome]())
            ended += new
            if new[Outcome.BUSY]:
                locked += 1
                time.sleep(LOCKED_AGAIN)
            elif not new.total() - new[Outcome.TAKEN]:
                break
        return ended

    def close(self) -> None:
        """Look no more. What is being sent is finished, or sent again by somebody else.

        Short work is waited for: it would open connections that the keyring has closed.
        """
        self._alarm.close(CLOSING)
        self._threads.close(CLOSING)

    def after_fork(self) -> None:
        """Leave what the parent sends to the parent."""
        self._lock = threading.Lock()
        self._under_way = {}
        self._alarm.after_fork()

    def _due(self) -> dict[Line, list[Delivery]]:
        lines: dict[Line, list[Delivery]] = {}
        for one in self._outbox.due(time.time(), PAGE):
            lines.setdefault((one.tenant, one.webhook), []).append(one)
        return lines

    def _begin_all(self) -> None:
        for line, due in self._due().items():
            future = self._begin(line, due)
            if future is not None:
                future.add_done_callback(self._look_again)

    def _begin(self, line: Line, due: list[Delivery]) -> Future[Counter[Outcome]] | None:
        """Begin to send a line's events, unless it is under way, or too many are."""
        fails = any(one.problem for one in due)
        with self._lock:
            failing = sum(self._under_way.values())
            full = len(self._under_way) >= AT_ONCE or (fails and failing >= FAILING_AT_ONCE)
            if full or line in self._under_way:
                return None
            self._under_way[line] = fails
        try:
            return self._threads.submit("", partial(self._run, line, due))
        except RuntimeError:  # the process ends, or the system has no more threads
            self._ended(line)
            return None

    def _run(self, line: Line, due: Iterable[Delivery]) -> Counter[Outcome]:
        ended: Counter[Outcome] = Counter()
        try:
            for one in due:
                outcome = self._sender.deliver(one)
                ended[outcome] += 1
                if outcome in _ENOUGH:
                    break
        finally:
            self._ended(line)
        return ended

    def _look_again(self, ended: Future[Counter[Outcome]]) -> None:
        error = ended.exception()
        if error is None and ended.result()[Outcome.BUSY]:
            self._alarm.set(elapsed() + LOCKED_AGAIN)
            return
        if error is not None:  # the delivery belongs to nobody again when its time is over
            logger.warning("a key event could not be sent now, and waits: %s", type(error).__name__)
            self._alarm.set(elapsed() + EVERY)
            return
        self.look(at_once=True)

    def _ended(self, line: Line) -> None:
        with self._lock:
            self._under_way.pop(line, None)

    def _note(self, error: CmkError | None) -> None:
        if error is not None and not self._failing:
            logger.warning("key events cannot be sent to webhooks now, and wait: %s", type(error).__name__)
        elif error is None and self._failing:
            logger.warning("key events are sent to webhooks again")
        self._failing = error is not None
