"""One PKCS#11 module in this process: its lock, its starts, and what a fork does to it.

python-pkcs11 calls ``C_Initialize(NULL)``: the module is told that one thread at a time will call it. So
every call into a module is made with that module's lock held.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import PKCS11Error

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.pkcs11.failures import name_of

RESTART_PAUSE = 30.0
# A call that hangs cannot be ended; whoever waits for its thread gives up after so many seconds.
CALL_PATIENCE = 15.0
FORK_PATIENCE = 10.0


class Module:
    """A PKCS#11 module, started once.

    Args:
        path: the shared library.

    Attributes:
        generation: grows with each start; sessions and handles of an earlier start are worthless, and
            their numbers may belong to others by now.
        refused: marks of the PINs that tokens refused, so that none is tried twice.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.generation = 0
        self.refused: set[bytes] = set()
        self._library: Any = None
        self._lock = threading.RLock()
        self._held_for_fork = False
        self._forked = False
        self._last_restart = -RESTART_PAUSE

    @contextmanager
    def exclusive(self) -> Iterator[Any]:
        """Give python-pkcs11's library object, started, to one thread at a time.

        Raises:
            KeyUnavailable: another thread's call does not come back, or the module does not start.
            ConfigurationError: it is no PKCS#11 module.
        """
        lock = self._lock
        if not lock.acquire(timeout=CALL_PATIENCE):
            raise KeyUnavailable(f"{self.path} does not answer: a call of another thread is still under way")
        try:
            yield self._started()
        finally:
            lock.release()

    def restart(self) -> bool:
        """End the module and start it again, at most every 30 seconds: the sessions of all its tokens end.

        A token that was restarted or plugged in is often seen only then. To be called with the lock held.

        Returns:
            Whether it was done.
        """
        if time.monotonic() < self._last_restart + RESTART_PAUSE:
            return False
        self._last_restart = time.monotonic()
        try:
            self._reinitialize()
        except PKCS11Error as error:
            raise self._failure(error) from None
        return True

    def _started(self) -> Any:
        try:
            if self._forked:
                self._reinitialize()
                self._forked = False
            if self._library is None or not self._library.initialized:
                self._library = pkcs11.lib(self.path)
                self.generation += 1
        except PKCS11Error as error:
            raise self._failure(error) from None
        return self._library

    def _reinitialize(self) -> None:
        if self._library is not None:
            # A module that saw the fork says that it is not initialized.
            with suppress(PKCS11Error):
                self._library.finalize()
            self._library.initialize()
            self.generation += 1

    def _failure(self, error: PKCS11Error) -> Exception:
        if not Path(self.path).exists():
            return ConfigurationError(f"there is no PKCS#11 module {self.path}: install it, or mend module=")
        if "OS exception" in str(error):
            return ConfigurationError(
                f"{self.path} cannot be loaded: it is not a PKCS#11 module of this machine"
            )
        return KeyUnavailable(f"the PKCS#11 module {self.path} does not start: {name_of(error)}")

    def before_fork(self) -> None:
        """Let the call that another thread makes end: the child gets no module that is half changed."""
        self._held_for_fork = self._lock.acquire(timeout=FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._held_for_fork:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Have the module started anew at the first use, once, whichever thread comes first."""
        self._lock = threading.RLock()
        self._forked = True
        self._last_restart = -RESTART_PAUSE


class _Modules:
    """Every module of this process, by the file that it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Module] = {}
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def at(self, path: str) -> Module:
        with self._lock:
            return self._known.setdefault(os.path.realpath(path), Module(path))

    def _before(self) -> None:
        self._lock.acquire()
        for module in self._known.values():
            module.before_fork()

    def _in_parent(self) -> None:
        for module in self._known.values():
            module.after_fork_in_parent()
        self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.Lock()
        for module in self._known.values():
            module.after_fork_in_child()


_modules = _Modules()


def module_at(path: str) -> Module:
    """Return the module of a path, the same for every provider of the process."""
    return _modules.at(path)
