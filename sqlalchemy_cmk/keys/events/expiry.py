"""Notes in the audit trail that KEKs expire soon, or have expired. See :class:`ExpiryWatch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.audit.authentic import AuthenticRows
from sqlalchemy_cmk.keys.audit.chain import AuditEntry, AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.opening.foreign import guarded
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import KekExpiry, KeyProvider
from sqlalchemy_cmk.runtime.background import BackgroundWriter
from sqlalchemy_cmk.scope import PLATFORM_TENANT

DAY = 86_400.0
# Days before it expires at which an event says so.
AHEAD = (1, 7, 30)


class ExpiryWatch:
    """Looks at the dates of a KEK when it was described, and notes once that one of :data:`AHEAD` is near.

    A tenant's KEK is noted for the tenants that it serves, the platform's for the platform alone.

    Args:
        store: says whom a KEK serves.
        rows: says what was noted already.
        note: appends an event to the trail, soon.
        background: reads and notes, so that nobody waits for it.
        platform_key: the platform's KEK.
        clock: returns seconds since 1970.
    """

    def __init__(
        self,
        store: KeyStore,
        rows: AuthenticRows,
        note: Callable[[AuditEvent], None],
        background: BackgroundWriter,
        platform_key: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._rows = rows
        self._note = note
        self._background = background
        self._platform_key = platform_key
        self._clock = clock
        self._noted: dict[str, AuditEvent] = {}

    def look(self, provider: KeyProvider, kek_uri: str) -> None:
        """Note it if a KEK expires soon, as far as its provider knows from its last look-up.

        A provider that fails here keeps nobody from using the KEK.
        """
        try:
            expiry = guarded(provider, partial(provider.expiry_of, kek_uri))
        except CmkError:
            return
        event = self._due(kek_uri, expiry) if isinstance(expiry, KekExpiry) else None
        if event is not None and self._noted.get(kek_uri) != event:
            self._background.submit(("expiry", kek_uri), partial(self._write, event))

    def _due(self, kek_uri: str, expiry: KekExpiry) -> AuditEvent | None:
        left = expiry.at - self._clock()
        ahead = next((days for days in (0, *AHEAD) if left <= days * DAY), None)
        if ahead is None:
            return None
        at = datetime.fromtimestamp(max(expiry.at, 0), UTC).isoformat(timespec="seconds")
        if ahead == 0:
            return AuditEvent(EventKind.EXPIRED, "", "", kek_uri, expiry.version, f"at {at}")
        detail = f"within {ahead} {'day' if ahead == 1 else 'days'}: at {at}"
        return AuditEvent(EventKind.EXPIRING, "", "", kek_uri, expiry.version, detail)

    def _write(self, event: AuditEvent) -> None:
        for tenant in self._served(event.kek_uri):
            said = self._rows.of_kind(tenant, event.event)
            if not any(_says(one, event) for one in said):
                self._note(_of(tenant, event))
        self._noted[event.kek_uri] = event

    def _served(self, kek_uri: str) -> Iterable[str]:
        return [PLATFORM_TENANT] if kek_uri == self._platform_key else self._store.tenants_under(kek_uri)


def _says(entry: AuditEntry, event: AuditEvent) -> bool:
    about = (entry.kek_uri, entry.kek_version) == (event.kek_uri, event.kek_version)
    return about and entry.detail.startswith(event.detail)


def _of(tenant: str, event: AuditEvent) -> AuditEvent:
    return AuditEvent(event.event, tenant, "", event.kek_uri, event.kek_version, event.detail)
