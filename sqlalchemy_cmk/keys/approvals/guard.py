"""Stops an operation until a second person has approved it. See :class:`Guard`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.errors import ApprovalRequired, KeyUnavailable
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState, canonical, fingerprint
from sqlalchemy_cmk.keys.approvals.rows import RequestRows
from sqlalchemy_cmk.keys.approvals.steps import Steps
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.runtime import because

LONGEST_REASON = 200

CHANGED = "the tenant's keys have changed since"


@dataclass(frozen=True, slots=True)
class Passed:
    """An operation that may go on.

    Attributes:
        beside: notes, in the transaction of the change, that the approval was used; ``None`` if none was
            needed.
        note: who has asked and who has approved, for the trail.
    """

    beside: Callable[[Connection], bool] | None = None
    note: str = ""


class Guard:
    """Lets the operations pass that a second person has approved, or that need none.

    Args:
        operations: those that need a second person.
        expiry: seconds until a request expires.
        audit: knows who acts, and which operations need a reason.
        rows: reads requests.
        steps: makes and closes them.
    """

    def __init__(
        self,
        operations: frozenset[EventKind],
        expiry: float,
        audit: AuditTrail,
        rows: RequestRows,
        steps: Steps,
    ) -> None:
        self._operations = operations
        self._expiry = expiry
        self._audit = audit
        self._rows = rows
        self._steps = steps

    def passed(
        self, keys: TenantKeys, operation: EventKind, arguments: Mapping[str, Any], reason: str = ""
    ) -> Passed:
        """Return that an operation may go on; where it may not, make a request for it.

        Args:
            keys: the tenant's keys, for which the change is planned.
            operation: the operation.
            arguments: all that decides what will be done.
            reason: why, where nobody has said so by :meth:`Keyring.because`.

        Raises:
            ApprovalRequired: a second person has to approve it. Nothing was changed.
            ConfigurationError: nobody can tell who acts, or a reason is missing.
            TamperedError: a request of this tenant is not authentic.
        """
        if operation not in self._operations:
            return Passed()
        text = canonical(arguments)
        wanted = fingerprint(keys.tenant.name, operation, text, keys.tenant.epoch)
        found, gone = self._standing(keys, operation, wanted)
        if found is not None and found.state is RequestState.APPROVED:
            note = f"request {found.id} of {found.requested_by}, approved by {found.decided_by}"
            return Passed(self._steps.using(found), note)
        if found is None and not self._steps.is_current(keys):
            return Passed(_was_late)  # it is planned again, on the keys of now
        raise _required(found or self._made(keys, operation, text, wanted, reason), gone)

    def _standing(
        self, keys: TenantKeys, operation: EventKind, wanted: str
    ) -> tuple[Request | None, Request | None]:
        """Return the open request for just this, and the last one that was closed here."""
        found = gone = None
        for one in self._rows.open(keys.tenant.name, operation):
            if self._steps.is_over(one):
                self._steps.take(one, RequestState.EXPIRED)
                gone = one
            elif one.epoch < keys.tenant.epoch:
                self._steps.take(one, RequestState.VOID, CHANGED)
                gone = one
            elif one.fingerprint == wanted:
                found = one
        return found, gone

    def _made(
        self, keys: TenantKeys, operation: EventKind, arguments: str, wanted: str, reason: str
    ) -> Request:
        self._audit.require_reasons([AuditEvent(operation, keys.tenant.name, detail=reason)])
        why, now = because.current(), self._steps.now()
        request = Request(
            id=token_hex(4),
            tenant=keys.tenant.name,
            operation=operation.value,
            arguments=arguments,
            epoch=keys.tenant.epoch,
            requested_by=self._steps.actor(),
            reason=(reason or ("" if why is None else why.reason))[:LONGEST_REASON],
            requested_at=now,
            expires_at=now + timedelta(seconds=self._expiry),
        )
        if self._steps.make(request):
            return request
        for one in self._rows.open(keys.tenant.name, operation):
            if one.fingerprint == wanted:
                return one
        raise KeyUnavailable(f"another process has just asked for {request.what}: try again")


def joined(*parts: str) -> str:
    """Return what an event of the trail says of a change, without the parts that are empty."""
    return ", ".join(filter(None, parts))


def _was_late(_: Connection) -> bool:
    return False


def _required(request: Request, gone: Request | None) -> ApprovalRequired:
    before = ""
    if gone is not None and gone.state is RequestState.APPROVED:
        why = "has expired" if gone.epoch == request.epoch else f"is void, since {CHANGED}"
        before = f"; request {gone.id}, which was approved, {why}"
    return ApprovalRequired(
        f"{request.operation} of tenant {request.tenant!r} needs a second person, and nothing was "
        f"changed{before}: request {request.id} waits for somebody other than {request.requested_by!r}, "
        f"by cmk approve {request.id} or keyring.approvals.approve({request.id!r}); then do the same again, "
        f"before {request.expires_at.isoformat()}",
        request.id,
        request.tenant,
    )
