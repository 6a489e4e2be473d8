"""The steps of a request's life, each in one transaction with its event of the trail. See :class:`Steps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState
from sqlalchemy_cmk.keys.approvals.rows import RequestRows
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys, changed_meanwhile
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.clock import this_second

ATTEMPTS = 10

# The row from before could be put back: it has not expired, and nothing else has changed.
_BY_PEOPLE = (RequestState.REFUSED, RequestState.WITHDRAWN)

_EVENTS = {
    RequestState.PENDING: EventKind.REQUESTED,
    RequestState.APPROVED: EventKind.APPROVED,
    RequestState.REFUSED: EventKind.REFUSED,
    RequestState.WITHDRAWN: EventKind.REFUSED,
    RequestState.EXPIRED: EventKind.REQUEST_EXPIRED,
    RequestState.VOID: EventKind.REQUEST_EXPIRED,
}


class Steps:
    """Makes requests, and takes them from one state to another.

    Args:
        database: the database of the key tables.
        store: has the tenants' keys.
        audit: records each step.
        rows: reads and writes requests.

    Attributes:
        now: returns the time in UTC, in whole seconds; a test may set it.
    """

    def __init__(self, database: KeyDatabase, store: KeyStore, audit: AuditTrail, rows: RequestRows) -> None:
        self._database = database
        self._store = store
        self._audit = audit
        self._rows = rows
        self.now: Callable[[], datetime] = this_second

    def actor(self) -> str:
        """Return who acts.

        Raises:
            ConfigurationError: nobody can tell.
        """
        actor = self._audit.actor()
        if not actor.strip():
            raise ConfigurationError(
                "it is not known who acts, so nobody could be the second person: give Keyring(actor=) a name "
                "or a function that returns one, or with keyring.because(..., actor=...)"
            )
        return actor

    def make(self, request: Request) -> bool:
        """Make a request; ``False`` if another process has just asked for the same."""
        columns, event = self._rows.columns(request), _event(request)

        def work(connection: Connection) -> None:
            self._rows.add(connection, columns)
            self._audit.append(connection, [event])

        self._audit.require_reasons([event])
        try:
            self._database.run(work)
        except IntegrityError:
            return False
        return True

    def take(self, request: Request, state: RequestState, decision: str = "", actor: str = "") -> bool:
        """Take an open request to another state; ``False`` if another process was first.

        Args:
            request: the request.
            state: what becomes of it.
            decision: why.
            actor: who decides; empty for nobody.
        """
        after = replace(
            request,
            state=state,
            decided_by=actor or request.decided_by,
            decided_at=self.now(),
            decision=decision,
        )
        columns, event = self._rows.columns(after), _event(after)
        self._audit.require_reasons([event])
        if state in _BY_PEOPLE:
            return self._revoke(request, lambda c: self._rows.change(c, request.state, columns), event)

        def work(connection: Connection) -> bool:
            done = self._rows.change(connection, request.state, columns)
            if done:
                self._audit.append(connection, [event])
            return done

        return self._database.run(work)

    def using(self, request: Request) -> Callable[[Connection], bool]:
        """Return what notes, in the transaction of the change itself, that an approved request was used."""
        columns = self._rows.columns(replace(request, state=RequestState.USED))
        return lambda connection: self._rows.change(connection, request.state, columns)

    def is_current(self, keys: TenantKeys) -> bool:
        """Return whether a tenant's keys are still as they were read."""
        stored = self._store.keys_of(keys.tenant.name)
        return stored is not None and stored.tenant.epoch == keys.tenant.epoch

    def is_over(self, request: Request) -> bool:
        """Return whether the time of a request is over."""
        return self.now() >= request.expires_at

    def _revoke(self, request: Request, beside: Callable[[Connection], bool], event: AuditEvent) -> bool:
        """Close a request for good, by changing the tenant's epoch: a row that is put back is void."""
        for _ in range(ATTEMPTS):
            keys = self._store.keys_of(request.tenant)
            if keys is None or self._store.apply(keys, KeyChange((event,), beside=beside)):
                return keys is not None
            found = self._rows.find(request.id)
            if found is None or found.state is not request.state:
                return False
        raise changed_meanwhile(request.tenant)


def _event(request: Request) -> AuditEvent:
    why = f": {request.decision}" if request.decision else ""
    detail = f"request {request.id}, {request.operation} with {request.arguments}{why}"
    if request.state in (RequestState.WITHDRAWN, RequestState.VOID):
        detail = f"{request.state}, {detail}"
    return AuditEvent(_EVENTS[request.state], request.tenant, detail=detail)
