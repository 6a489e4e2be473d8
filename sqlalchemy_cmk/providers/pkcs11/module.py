"""The PKCS#11 modules of this process: their locks, restarts, and re-initialization after a fork.

python-pkcs11 calls ``C_Initialize(NULL)``, which promises the module that one thread at a time will call it.
So every call into a module is made while that module's lock is held.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import pkcs11
from pkcs11 import FunctionNotSupported, PKCS11Error
from pkcs11.types import PROTECTED_AUTH

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.pkcs11.cryptoki import Cryptoki
from sqlalchemy_cmk.providers.pkcs11.failures import name_of
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.secret import Secret

TokenKey = tuple[tuple[str, str], ...]

RESTART_PAUSE = 30.0
# A call that hangs cannot be cancelled; threads that wait for it give up after so many seconds.
CALL_PATIENCE = 15.0
FORK_PATIENCE = 10.0


class SessionHolder(Protocol):
    """An object that keeps sessions with the tokens of a module."""

    def answers(self, *, but: TokenKey) -> bool:
        """Return whether a token other than this one answers on a session that is kept."""


class Module:
    """A PKCS#11 module, initialized once.

    Args:
        path: the shared library.

    Attributes:
        generation: grows with each initialization; sessions and handles of an earlier one are invalid, and
            their numbers may now belong to others.
        refused: marks of the PINs that tokens have refused, so that none is tried twice.
        mistyped: the tokens that had counted a wrong PIN before this process last logged in, by label and
            serial number: the login resets their counters.
        holders: those who keep sessions.
        ends_before_fork: whether it is finalized before a fork: see :class:`Profile`.
        lost_by_fork: a library that serves no child of a process that has loaded it: see :class:`Profile`.
        fresh_for: seconds after which it is restarted: see :class:`Profile`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.generation = 0
        self.refused: set[bytes] = set()
        self.mistyped: set[tuple[str, bytes]] = set()
        self.holders: WeakSet[SessionHolder] = WeakSet()
        self.ends_before_fork = False
        self.lost_by_fork = ""
        self.fresh_for = float("inf")
        self._cryptoki: Cryptoki | None = None
        self._logins: dict[int, Any] = {}
        self._library: Any = None
        self._lock = threading.RLock()
        self._held_for_fork = False
        self._forked = False
        self._serves_children = True
        self._last_restart = -RESTART_PAUSE
        self._began = elapsed()

    @contextmanager
    def exclusive(self) -> Iterator[Any]:
        """Hold the module's lock and give python-pkcs11's library object, initialized.

        Raises:
            KeyUnavailable: another thread's call does not return, or the module does not initialize.
            ConfigurationError: it is not a PKCS#11 module, or serves no child of a process that has used it.
        """
        lock = self._lock
        if not lock.acquire(timeout=CALL_PATIENCE):
            raise KeyUnavailable(
                f"{self.path} does not answer: a call from another thread is still under way"
            )
        try:
            yield self._started()
        finally:
            lock.release()

    def restart(self, failing: TokenKey = ()) -> bool:
        """Finalize the module and initialize it again, at most every 30 seconds; all its sessions end.

        A token that was restarted or plugged in is often seen only then. While another token answers, its
        sessions are left alone. Call it with the lock held.

        Args:
            failing: the token that fails.

        Returns:
            Whether the module was restarted.
        """
        if elapsed() < self._last_restart + RESTART_PAUSE:
            return False
        # Before the others are asked: a token that hangs is not asked each time that another one fails.
        self._last_restart = elapsed()
        if any(one.answers(but=failing) for one in list(self.holders)):
            return False
        try:
            self._reinitialize()
        except PKCS11Error as error:
            raise self._failure(error) from None
        return True

    def log_in(self, session: Any, pin: Secret | None) -> None:
        """Log in on a session, or at the token itself if there is no PIN. Call it with the lock held.

        A module that gives each caller a list of functions is logged in by python-pkcs11, on one more session
        for each token. It stays open: python-pkcs11 would log out as it closes it.

        Raises:
            PKCS11Error: the login is refused.
        """
        if self._cryptoki is not None:
            self._cryptoki.log_in(session.handle, pin)
        else:
            token = session.token
            login = token.open(user_pin=PROTECTED_AUTH if pin is None else pin.reveal().decode())
            self._logins[token.slot.slot_id] = login

    def is_logged_in(self, session: Any) -> bool | None:
        """Return whether a session is logged in; ``None`` if the module cannot be asked."""
        with suppress(FunctionNotSupported):
            return None if self._cryptoki is None else self._cryptoki.is_logged_in(session.handle)
        return None

    def has_logged_in(self, session: Any) -> bool:
        """Return whether a session that was opened to log in to this token is open."""
        return session.token.slot.slot_id in self._logins

    def _started(self) -> Any:
        if self._forked and not self._serves_children:
            raise ConfigurationError(
                f"{self.path} reaches its token by {self.lost_by_fork}, which hangs in a child of a process "
                "that has used it: open the first value in each worker, after the fork, or reach the token "
                "in another way (a TPM by the kernel's /dev/tpmrm0)"
            )
        try:
            if self._forked or elapsed() >= self._began + self.fresh_for:
                self._reinitialize()
                self._forked = False
            if self._library is None or not self._library.initialized:
                self._library = pkcs11.lib(self.path)
                self._cryptoki = Cryptoki.of(self.path)
                self._begin_generation()
        except PKCS11Error as error:
            raise self._failure(error) from None
        return self._library

    def _reinitialize(self) -> None:
        if self._library is not None:
            # A module that has noticed the fork reports that it is not initialized.
            if self._library.initialized:
                with suppress(PKCS11Error):
                    self._library.finalize()
            self._library.initialize()
            self._begin_generation()

    def _begin_generation(self) -> None:
        self.generation += 1
        self._began = elapsed()
        self._logins.clear()

    def _failure(self, error: PKCS11Error) -> Exception:
        if not Path(self.path).exists():
            return ConfigurationError(
                f"there is no PKCS#11 module {self.path}: install it, or correct module="
            )
        if "OS exception" in str(error):
            return ConfigurationError(
                f"{self.path} cannot be loaded: it is not a PKCS#11 module of this machine"
            )
        return KeyUnavailable(f"the PKCS#11 module {self.path} does not start: {name_of(error)}")

    def before_fork(self) -> None:
        """Wait for the call of another thread, so that the child does not get a module in mid-call."""
        self._held_for_fork = self._lock.acquire(timeout=FORK_PATIENCE)
        # Before the module is ended, which may unload it.
        if self.lost_by_fork and _is_loaded(self.lost_by_fork):
            self._serves_children = False
        if self._held_for_fork and self.ends_before_fork and self._library is not None:
            with suppress(PKCS11Error):
                self._library.finalize()

    def after_fork_in_parent(self) -> None:
        """Release the lock."""
        if self._held_for_fork:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Initialize the module again at its first use in the child."""
        self._lock = threading.RLock()
        self._forked = True
        self._last_restart = -RESTART_PAUSE


def _is_loaded(library: str) -> bool:
    """Return whether this process has loaded a library, as far as the system says."""
    try:
        return library in Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return False


class _Modules:
    """Every module of this process, by its file."""

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
    """Return the module at a path; every provider of the process shares it."""
    return _modules.at(path)
