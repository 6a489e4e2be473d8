"""Rotates the record key, and gives one to an installation that had none. See :class:`RecordKeyLifecycle`."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.manifest.record_key import RecordKey, RecordKeys
from sqlalchemy_cmk.keys.records import KeyChange
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.kinds import FUNCTION, takes
from sqlalchemy_cmk.scope import PLATFORM_TENANT

ATTEMPTS = 10


class RecordKeyLifecycle:
    """Changes the key that authenticates the key tables, while the application runs.

    Args:
        record_keys: the keyring's record keys.
        store: reads and writes the key tables.
        audit: the trail of key events.
        close_requests: closes every open request for a second person, which the old key authenticates.
    """

    def __init__(
        self,
        record_keys: RecordKeys,
        store: KeyStore,
        audit: AuditTrail,
        close_requests: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._record_keys = record_keys
        self._store = store
        self._audit = audit
        self._close_requests = close_requests

    def keys(self) -> tuple[tuple[RecordKey, ...], str]:
        """Return the record keys of now, the one that authenticates first, and where they are kept."""
        return self._record_keys.load(), self._record_keys.origin

    @takes(progress=FUNCTION)
    def rotate(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Authenticate every tenant's keys by a new record key; return how many there are.

        A record key in a file is made here. It is accepted beside the old one until all is authenticated by
        it; then the old one is dropped. Elsewhere put the new key before the old one, in every process, call
        this, and then take the old one away. A run that was stopped is taken up by the next.

        Args:
            progress: called with the number of tenants that are done.

        Raises:
            TamperedError: some tenant's keys are not those that were written; the others are done, and the
                old record key is kept.
            KeyUnavailable: the record key or the key tables cannot be reached.
        """
        self._close_requests("the record key was rotated")
        in_file = self._record_keys.path is not None
        if in_file and len(self._record_keys.load()) == 1:
            self._record_keys.rotate()
        done = self._authenticate_all(self._confirm, progress)
        # The trail's end has to be under the new key before the old one goes, also where there is no tenant.
        self._audit.now(self._event(PLATFORM_TENANT))
        if in_file:
            # A process that had read the file before may have added a tenant meanwhile.
            done += self._authenticate_all(self._confirm, progress)
            self._record_keys.drop_old()
        return done

    @takes(progress=FUNCTION)
    def adopt(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Authenticate what the key tables and the audit trail hold now; return the number of tenants.

        For an installation that is given its first record key, or has lost it. What somebody else has
        written there is authenticated with the rest: check the keys first.
        """
        done = self._authenticate_all(self._adopt, progress)
        self._audit.adopt(f"adopted by {self._record_keys.current().id}")
        return done

    def _authenticate_all(
        self,
        authenticate: Callable[[str], bool],
        progress: Callable[[int], None],
    ) -> int:
        done, failure = 0, None
        for name in self._store.tenants_not_under(self._record_keys.current().id):
            try:
                self._until_done(authenticate, name)
            except CmkError as error:
                failure = error
                continue
            done += 1
            progress(done)
        if failure is not None:
            raise failure
        return done

    def _until_done(self, authenticate: Callable[[str], bool], name: str) -> None:
        for _ in range(ATTEMPTS):
            if authenticate(name):
                return
        raise KeyUnavailable(f"the keys of tenant {name!r} are being changed by other processes: try again")

    def _confirm(self, name: str) -> bool:
        keys = self._store.keys_of(name)
        return keys is None or self._store.apply(keys, KeyChange((self._event(name),)))

    def _adopt(self, name: str) -> bool:
        return self._store.adopt(name, self._event(name))

    def _event(self, tenant: str) -> AuditEvent:
        return AuditEvent(
            EventKind.RECORD_KEY, tenant, detail=f"authenticated by {self._record_keys.current().id}"
        )


def required(record_keys: RecordKeys | None) -> RecordKeys:
    """Return the record keys.

    Raises:
        ConfigurationError: there are none.
    """
    if record_keys is None:
        raise ConfigurationError(
            "this keyring has no record key: make one with openssl rand -base64 32, keep it outside the "
            "database, and give Keyring(record_key=...) its place"
        )
    return record_keys
