"""Does what a notice of a key leads to, in the background. See :class:`Following`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from functools import partial

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.eventgrid.messages import KeyNotice, Notice
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.providers.azure.identifiers import parse_identifier
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.because import because
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.threads import Threads

logger = logging.getLogger("sqlalchemy_cmk.keys")

MOST_WAITING = 1000
ACTOR = "Azure Event Grid"


class Following:
    """Rewraps what a key's older versions have wrapped, and looks at the dates of a key that expires.

    A notice chooses no vault and no key: it is compared with the KEKs that wrap something here, and these are
    asked. So a forged one can make the application look, and no more.

    Args:
        keyring: whose KEKs.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._threads = Threads("cmk-eventgrid", 1)
        self._lock = threading.Lock()
        self._waiting: set[KeyNotice] = set()
        watch_forks(self)

    def follow(self, notices: Iterable[KeyNotice]) -> bool:
        """Follow notices soon; ``False`` if too many wait already, and some of these are not followed."""
        for one in notices:
            with self._lock:
                if one in self._waiting:
                    continue
                if len(self._waiting) >= MOST_WAITING:
                    return False
                self._waiting.add(one)
            try:
                self._threads.submit("", partial(self._follow, one))
            except RuntimeError:  # the process ends, or the system has no more threads
                with self._lock:
                    self._waiting.discard(one)
                return False
        return True

    def after_fork(self) -> None:
        """Leave the parent's notices to the parent."""
        self._lock = threading.Lock()
        self._waiting = set()

    def _follow(self, one: KeyNotice) -> None:
        with self._lock:
            # From here on another notice of the same may be about a later version.
            self._waiting.discard(one)
        for keys in self._keyring.engines.all():
            try:
                with because(str(one.notice), ACTOR):
                    for kek_uri in _named(keys, one):
                        _look_at(keys, kek_uri, one.notice)
            except CmkError as error:
                logger.warning(
                    "a notice of Azure Event Grid (%s) was not followed: %s; run cmk rewrap and cmk doctor",
                    one.notice,
                    type(error).__name__,
                )


def _look_at(keys: EngineKeys, kek_uri: str, notice: Notice) -> None:
    if notice is not Notice.NEW_VERSION:
        keys.wrapper.newest_version(kek_uri)
        return
    report = keys.lifecycle.rewrap_under(kek_uri)
    if report.failed:
        logger.warning(
            "after a new version of %s the keys of %s tenants could not be rewrapped: run cmk rewrap",
            shown(kek_uri),
            len(report.failed),
        )


def _named(keys: EngineKeys, one: KeyNotice) -> Iterator[str]:
    """Return the KEKs that wrap something here and that a notice names, in whichever case."""
    near = f"{one.vault_url}/keys/{one.name}"
    for kek_uri in dict.fromkeys(keys.store.keks_in_use(near)):
        key = parse_identifier(kek_uri)
        if key is not None and (key.vault_url, key.name.lower()) == (one.vault_url, one.name.lower()):
            yield kek_uri
