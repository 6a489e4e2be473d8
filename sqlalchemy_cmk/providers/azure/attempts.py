"""Requests that their caller waits for within a bound, whatever the other side does.

Time-outs of a connection count from one byte to the next: a body that comes at one byte a second passes them
all. So a blocking request runs on another thread; when the bound is over its connection is shut down and
the thread is left behind, whatever it waits for: a name server, a sign-in service, half a header.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPSConnection

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.runtime.forks import watch_forks

T = TypeVar("T")

MAX_ABANDONED = 32

_current: ContextVar[_Attempt | None] = ContextVar("cmk_azure_attempt", default=None)


class Attempts:
    """Makes the requests to one vault, on threads that are kept for the next ones."""

    def __init__(self) -> None:
        self._abandoned: list[Future[Any]] = []

    def within(self, seconds: float, work: Callable[[], T]) -> T:
        """Return what the work returns.

        Raises:
            KeyUnavailable: it has not ended in time, or many earlier ones still have not.
        """
        self._abandoned = [one for one in self._abandoned if not one.done()]
        if len(self._abandoned) >= MAX_ABANDONED:
            raise KeyUnavailable(f"{MAX_ABANDONED} earlier requests still hang")
        attempt, outcome = _Attempt(), Future[T]()

        def run() -> T:
            _current.set(attempt)
            return work()

        _workers.submit(outcome, partial(copy_context().run, run))
        try:
            return outcome.result(seconds)
        except TimeoutError:
            if outcome.done():
                raise
        finally:
            if not outcome.done():
                attempt.abandon()
                self._abandoned.append(outcome)
        raise too_slow(seconds)


class Worker(threading.Thread):
    """A thread that makes one request after the other.

    Threads are kept: when one ends, OpenSSL takes a lock of the whole process to tidy up after it, and a
    process that is forked at that moment can never open a connection.
    """

    def __init__(self, idle: deque[Worker]) -> None:
        super().__init__(name="cmk-azure-request", daemon=True)
        self._idle = idle
        self._orders: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self.busy = False

    def submit(self, outcome: Future[Any], work: Callable[[], Any]) -> None:
        """Do this work next."""
        self.busy = True
        self._orders.put((outcome, work))

    def run(self) -> None:
        """Work for as long as the process lives."""
        while True:
            self._do(*self._orders.get())

    def _do(self, outcome: Future[Any], work: Callable[[], Any]) -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # It is raised where the caller waits.
            failure = error
        self.busy = False
        self._idle.append(self)
        if failure is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(failure)


class _Workers:
    """The threads of this process; a forked child makes its own."""

    def __init__(self) -> None:
        self._idle: deque[Worker] = deque()
        watch_forks(self)

    def submit(self, outcome: Future[Any], work: Callable[[], Any]) -> None:
        """Give work to a thread that has none."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = Worker(self._idle)
            worker.start()
        worker.submit(outcome, work)

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._idle = deque()


_workers = _Workers()


def too_slow(seconds: float) -> KeyUnavailable:
    """Return the error for a request that has taken too long."""
    return KeyUnavailable(f"no whole answer within {seconds:.3g} s")


def make_session(use_environment: bool) -> requests.Session:
    """Return a session for the SDK whose connections can be shut down while they are waited for.

    Args:
        use_environment: whether proxies are taken from the environment's variables.
    """
    session = requests.Session()
    session.trust_env = use_environment
    session.mount("https://", _Adapter(max_retries=Retry(total=False, redirect=False, raise_on_status=False)))
    return session


class _Attempt:
    """One request, which may be abandoned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._over = False

    def uses(self, connection: Any) -> None:
        """Note the connection that is used from now on; refuse it if the request was abandoned."""
        with self._lock:
            if self._over:
                raise ConnectionAbortedError("nobody waits for this request any more")
            self._connection = connection

    def abandon(self) -> None:
        """Shut the connection down, so that what waits for it ends."""
        with self._lock:
            self._over = True
            held = getattr(self._connection, "sock", None)
        if isinstance(held, socket.socket):
            # The plain method: that of a TLS socket must not be called beside a read.
            with suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)


class _Connection(HTTPSConnection):
    def connect(self) -> None:
        """Connect, and note the connection first."""
        _note(self)
        super().connect()

    def request(self, *arguments: Any, **options: Any) -> None:
        """Send a request, and note the connection first."""
        _note(self)
        super().request(*arguments, **options)


def _note(connection: _Connection) -> None:
    attempt = _current.get()
    if attempt is not None:
        attempt.uses(connection)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _use_pools(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        _use_pools(manager)
        return manager


def _use_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _Pool}
