"""The application's callbacks for key events. See :class:`Listeners`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextvars import Context
from functools import partial

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.events.key_event import KeyEvent, KeyEventKind
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")

Callback = Callable[[KeyEvent], object]

# Seconds for which the end of a keyring waits for callbacks that are under way.
LAST_CALLS = 5.0


class Listeners:
    """Calls callbacks on a thread of its own, one after the other, so that none holds up what has happened.

    They run in no tenant's scope and in no transaction of the library's. One that fails is logged.
    """

    def __init__(self) -> None:
        self._all: tuple[tuple[Callback, frozenset[KeyEventKind]], ...] = ()
        self._threads = Threads("cmk-events", 1)
        self._last: Future[None] | None = None
        watch_forks(self)

    def add(self, callback: Callback, kinds: frozenset[KeyEventKind]) -> None:
        """Call a function at each event of these kinds.

        Raises:
            ConfigurationError: it is none, or a coroutine function.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise ConfigurationError(
                "a callback for key events is a plain function that takes the event: it is called in a "
                "thread, where a coroutine would never run"
            )
        self._all = (*self._all, (callback, kinds))

    def tell(self, events: Iterable[KeyEvent]) -> None:
        """Have callbacks called for events that have happened, and been committed."""
        if not self._all:
            return
        for event in events:
            for callback, kinds in self._all:
                if event.kind in kinds:
                    self._submit(partial(_call, callback, event))

    def close(self) -> None:
        """Wait a few seconds for the callbacks that are under way."""
        last, self._last = self._last, None
        if last is not None:
            wait([last], LAST_CALLS)
        self._threads.close()

    def after_fork(self) -> None:
        """Leave the parent's calls to the parent."""
        self._last = None

    def _submit(self, call: Callable[[], None]) -> None:
        try:
            self._last = self._threads.submit("", call)
        except RuntimeError:  # the process ends, or the system has no more threads
            call()


def _call(callback: Callback, event: KeyEvent) -> None:
    try:
        # An empty context: what happened to be the scope of a request is no scope for the callback.
        Context().run(callback, event)
    except Exception as error:  # an application's function may raise anything
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        logger.error("the callback %s failed at a key event %s: %s", name, event.kind, type(error).__name__)
