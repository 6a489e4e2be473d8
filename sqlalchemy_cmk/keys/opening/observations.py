"""What calls to a tenant's KEK have shown: that it refuses, or that it opens. See :class:`Observations`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from sqlalchemy_cmk.runtime.forks import watch_forks


class Observations:
    """Writes the state of tenants' KEKs into the table of tenants, which no caller waits for.

    Everything that asks a KEK reports here: reads, rewrapping, changes of keys and the doctor.

    Args:
        store: stores the state.
        background: writes it.
        note: appends an event to the audit trail, soon.
    """

    def __init__(
        self, store: KeyStore, background: BackgroundWriter, note: Callable[[AuditEvent], None]
    ) -> None:
        self._store = store
        self._background = background
        self._note_soon = note
        self._out: set[str] = set()
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        watch_forks(self)

    def refused(self, keys: TenantKeys, kek: Wrapped | None, reason: str) -> None:
        """Note that a tenant's KEK refuses.

        Args:
            keys: the tenant's keys.
            kek: one of the wrappings that it refused to open, if there is one.
            reason: why.
        """
        if keys.tenant.state is TenantState.OK:
            uri, version = (kek.kek_uri, kek.kek_version) if kek else (keys.tenant.kek_uri, "")
            event = AuditEvent(EventKind.REVOKED, keys.tenant.name, "", uri, version, reason)
            self._note(keys.tenant.name, TenantState.REVOKED, event)

    def unreached(self, keys: TenantKeys, kek: Wrapped | None, error: KeyUnavailable) -> None:
        """Note that a tenant's KEK could not be reached; once until :meth:`reached`."""
        name = keys.tenant.name
        with self._lock:
            if name in self._out:
                return
            self._out.add(name)
        uri, version = (kek.kek_uri, kek.kek_version) if kek else (keys.tenant.kek_uri, "")
        self._note_soon(AuditEvent(EventKind.UNAVAILABLE, name, "", uri, version, str(error)))

    def reached(self, tenant: str, kek_uri: str, kek_version: str) -> None:
        """Note that a tenant's KEK answers, and opens."""
        if tenant in self._out:
            with self._lock:
                was_out = tenant in self._out
                self._out.discard(tenant)
            if was_out:
                detail = "it can be reached again"
                event = AuditEvent(EventKind.RESTORED, tenant, "", kek_uri, kek_version, detail)
                self._note_soon(event)

    @contextmanager
    def noting(self, keys: TenantKeys) -> Iterator[None]:
        """Note a refusal in a block that uses the tenant's KEKs; where it has two, one may still open."""
        try:
            yield
        except KeyRevoked as error:
            keks = {one.kek_uri for dek in keys.living for one in dek.wrappings} | {keys.tenant.kek_uri}
            if len(keks) == 1:
                self.refused(keys, None, str(error))
            raise
        except KeyUnavailable as error:
            self.unreached(keys, None, error)
            raise

    def opened(self, keys: TenantKeys, kek: Wrapped) -> None:
        """Note that a tenant's KEK has opened a DEK."""
        name = keys.tenant.name
        self.reached(name, kek.kek_uri, kek.kek_version)
        if keys.tenant.state is TenantState.REVOKED:
            event = AuditEvent(EventKind.RESTORED, name, "", kek.kek_uri, kek.kek_version)
            self._note(name, TenantState.OK, event)
        if not self._store.is_seen(keys):
            with self._lock:
                self._seen.add(name)
            self._background.submit("seen", self._write_seen)

    def after_fork(self) -> None:
        """Leave the parent's notes to the parent."""
        self._seen = set()
        self._out = set()
        self._lock = threading.Lock()

    def _write_seen(self) -> None:
        with self._lock:
            seen = set(self._seen)
        self._store.note_seen(seen)
        with self._lock:
            self._seen -= seen

    def _note(self, tenant: str, state: TenantState, event: AuditEvent) -> None:
        def write() -> None:
            try:
                self._store.note_state(tenant, state, event)
            except TamperedError:
                # Reading the keys raises it to the reader; to repeat this job would not help.
                return

        self._background.submit(("state", tenant), write)
