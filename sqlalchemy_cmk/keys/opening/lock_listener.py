"""Hears that locks have changed, where the database announces it. See :class:`LockListener`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.databases.listening import Listener
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")

# Seconds between two looks whether a DEK is still open, those before a lost connection is made again, and
# those for which closing waits for the connection to be given back.
WAIT, PAUSE, FAREWELL = 5.0, 30.0, 2.0
# Anyone who can connect to the database can announce as often as they like: looks are so many seconds apart.
GATHER = 0.1


class LockListener:
    """Holds one connection of its own while DEKs are open, and has locks looked at when it hears of one.

    It makes a look come sooner, and takes the place of none: a pooler may swallow what is announced, and so
    may a connection that is lost.

    Args:
        connections: where the connection comes from.
        channel: what is announced there.
        is_wanted: returns whether a DEK is open.
        heard: looks at locks.
    """

    def __init__(
        self,
        connections: Connections,
        channel: str,
        is_wanted: Callable[[], bool],
        heard: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._channel = channel
        self._is_wanted = is_wanted
        self._heard = heard
        self._threads = Threads("cmk-listen", 1)
        self.after_fork()

    def after_fork(self) -> None:
        """Leave the parent's connection to the parent."""
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._listener: Listener | None = None
        self._stopped = False
        self._not_before = 0.0

    @property
    def is_listening(self) -> bool:
        """Whether announcements are heard now."""
        return self._listener is not None

    def begin(self) -> None:
        """Listen, unless that is under way, or has just failed."""
        if self._running is not None or elapsed() < self._not_before:
            return
        with self._lock:
            if self._running is None:
                self._stopped = False
                try:
                    self._running = self._threads.submit("", self._listen)
                except RuntimeError:  # the process ends, or the system has no more threads
                    self._not_before = elapsed() + PAUSE

    def stop(self) -> None:
        """Give the connection back; :meth:`begin` takes another."""
        with self._lock:
            self._stopped, running, listener = True, self._running, self._listener
            if listener is not None:
                listener.wake()
        if running is not None:
            try:
                running.result(FAREWELL)
            except TimeoutError:
                logger.warning("the connection on which locks are announced was not given back in time")

    def close(self) -> None:
        """Listen no more."""
        self.stop()
        self._threads.close()

    def _listen(self) -> None:
        try:
            self._connections.use(self._hear, autocommit=True)
        except (CmkError, OSError, SQLAlchemyError) as error:
            self._not_before = elapsed() + PAUSE
            logger.info("locks cannot be heard of now (%s): they are looked at", type(error).__name__)
        finally:
            with self._lock:
                self._running = None

    def _hear(self, connection: Connection) -> None:
        listener = self._connections.database.listener(connection, self._channel)
        if listener is None:
            self._not_before = float("inf")
            return
        try:
            with self._lock:
                self._listener = listener
            self._heard()  # what was announced before this connection listened
            while not self._stopped and self._is_wanted():
                if listener.wait(WAIT):
                    self._heard()
                    time.sleep(GATHER)
        finally:
            with self._lock:
                self._listener = None
                listener.close()
