"""Notices tenants that were locked or shredded while their DEKs are open here. See :class:`LockWatch`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from math import inf

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.opening.lock_listener import LockListener
from sqlalchemy_cmk.keys.storage.locks import LockRow
from sqlalchemy_cmk.runtime.alarm import Alarm, longest_sleep
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")


class LockWatch:
    """Looks at one row of the key tables every ``lock_check`` seconds, while this process holds DEKs.

    When the row has changed, the DEKs of the tenants that are locked, or shredded, are dropped, and what is
    being opened for a locked one meanwhile is not used. A process that holds no DEK looks at nothing: a
    thread that opens one reads the tenant's record, where the lock stands.

    Where the row could not be read for ``lock_grace``, DEKs whose last proof is older than that are dropped:
    a proof reads the tenant's record too. That holds as well while a look hangs.

    Args:
        policy: how often to look, and for how long not to.
        row: what is looked at; ``None`` if no other process shares the key tables.
        opened: the opened DEKs.
        let_in: given tenants that were unlocked, forgets that they were refused.
        clock: returns monotonic seconds.
        listener: has :meth:`hurry` called where the database announces a lock; ``None`` for nothing of that.
    """

    def __init__(
        self,
        policy: CachePolicy,
        row: LockRow | None,
        opened: OpenedKeys,
        let_in: Callable[[Collection[str]], None],
        clock: Callable[[], float],
        listener: LockListener | None = None,
    ) -> None:
        self._every = policy.lock_check
        self._grace = policy.lock_grace
        self._row = row
        self._opened = opened
        self._let_in = let_in
        self._clock = clock
        self._generation: int | None = None
        self._lock = threading.Lock()
        self._next = inf
        self._looked_at = clock()
        self._looking = self._failing = self._hurried = False
        self._listener = listener
        self._threads = Threads("cmk-locks", 1)
        self._alarm = Alarm(self.ring, clock, longest_sleep(clock), "cmk-locks")

    def watch(self) -> None:
        """Begin to look, or go on: a DEK was opened."""
        if self._row is None:
            return
        with self._lock:
            if self._next == inf:
                self._next = self._clock() + self._every
            due = self._next
        self._alarm.set(due)
        if self._listener is not None:
            self._listener.begin()

    def hurry(self) -> None:
        """Look now, if a DEK is open: something has changed."""
        with self._lock:
            if self._next == inf:
                return
            self._hurried, self._next = True, self._clock()
            due = self._next
        self._alarm.set(due)

    def rest(self) -> None:
        """Give back the connection that listens, until the next look."""
        if self._listener is not None:
            self._listener.stop()

    def locked(self, tenant: str) -> None:
        """Note that this process has locked a tenant: a DEK that is being opened now is not used."""
        if self._row is not None:
            self._opened.shut_out(self._opened.shut_out_now | {tenant})
            self.watch()

    def unlocked(self, tenant: str) -> None:
        """Note that this process has unlocked a tenant."""
        self._admit(self._opened.shut_out_now - {tenant})

    def ring(self) -> float | None:
        """Begin a look if it is time, and return when the next is; ``None`` if no DEK is open."""
        now = self._clock()
        with self._lock:
            if not len(self._opened):
                self._next = inf
            due = self._next
        if due == inf:
            # The thread that opens one reads whether its tenant is locked; what was missed is looked at then.
            self._generation = None
            self._admit(frozenset())
            return None
        if now < due:
            return due
        if (self._looking or self._failing) and now - self._looked_at > self._grace:
            self._opened.drop_unless_proven_since(now - self._grace)
        if not self._looking:
            self._begin()
        if self._listener is not None:
            self._listener.begin()
        with self._lock:
            self._next = now + self._every
        return now + self._every

    def look(self) -> None:
        """Look at the row, and drop what has to be dropped.

        Raises:
            KeyUnavailable: the key tables cannot be reached now.
        """
        if self._row is None:
            return
        generation = self._row.generation()
        if generation == self._generation:
            return
        self._admit(self._row.locked())
        self._opened.drop_all(self._row.shredded(self._opened.tenants()))
        self._generation = generation

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way."""
        return self._looking

    @property
    def is_listening(self) -> bool:
        """Whether a lock is heard of as soon as the database announces it."""
        return self._listener is not None and self._listener.is_listening

    def close(self) -> None:
        """Look no more, and listen no more."""
        self._alarm.close()
        if self._listener is not None:
            self._listener.close()
        self._threads.close()

    def after_fork(self) -> None:
        """Look for the child's own DEKs: the parent's threads do not run there."""
        self._lock = threading.Lock()
        self._looking = False
        if self._listener is not None:
            self._listener.after_fork()
        self._alarm.after_fork()

    def _admit(self, locked: frozenset[str]) -> None:
        """Shut out these tenants, and no others."""
        let_in = self._opened.shut_out_now - locked
        self._opened.shut_out(locked)
        if let_in:
            self._let_in(let_in)

    def _begin(self) -> None:
        self._looking = True
        try:
            self._threads.submit("", self._look_and_note)
        except RuntimeError:  # the process ends, or the system has no more threads
            self._looking, self._failing = False, True

    def _look_and_note(self) -> None:
        try:
            while self._looking:
                self._hurried = False
                self._look_once()
                with self._lock:
                    self._looking = self._hurried  # something was announced during the look
        except BaseException as error:  # a fault of ours: the next look is made all the same
            logger.error("a look at locks failed in a way that it should not: %s", type(error).__name__)
            with self._lock:
                self._looking, self._failing = False, True
            raise

    def _look_once(self) -> None:
        failure: str | None = None
        began = self._clock()
        try:
            self.look()
            self._looked_at = began
        except CmkError as error:
            failure = type(error).__name__
        if failure is not None and not self._failing:
            logger.warning(
                "it cannot be seen now whether tenants were locked (%s): keys are used for lock_grace "
                "seconds from their last proof",
                failure,
            )
        elif failure is None and self._failing:
            logger.warning("it can be seen again whether tenants were locked")
        self._failing = failure is not None
