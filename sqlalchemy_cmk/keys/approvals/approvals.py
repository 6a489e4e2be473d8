"""What people do with requests: look at them, approve, refuse and withdraw them. See :class:`Approvals`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.approvals.guard import CHANGED, LONGEST_REASON
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState
from sqlalchemy_cmk.keys.approvals.rows import RequestRows
from sqlalchemy_cmk.keys.approvals.steps import Steps
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.scope import key_owner


class Approvals:
    """The requests of one database's tenants; available as ``keyring.approvals``.

    Who acts is the audit trail's actor: ``Keyring(actor=)``, or :meth:`Keyring.because`. The application
    vouches for it, and lets only those approve who may.

    Every method raises :class:`TamperedError` where a request is not authentic, and :class:`KeyUnavailable`
    where the key tables cannot be reached now.
    """

    def __init__(self, store: KeyStore, rows: RequestRows, steps: Steps) -> None:
        self._store = store
        self._rows = rows
        self._steps = steps

    def pending(self, tenant: object | None = None) -> list[Request]:
        """Return the requests that are open, oldest first: those that wait, and those that were approved.

        Args:
            tenant: only this tenant's; ``None`` for all.
        """
        name = None if tenant is None else key_owner(tenant)
        return off_the_loop(lambda: self._living(name))

    def find(self, request_id: str) -> Request:
        """Return a request, whatever has become of it.

        Raises:
            ConfigurationError: there is none of this id.
        """
        found = off_the_loop(lambda: self._rows.find(request_id))
        if found is None:
            raise ConfigurationError(
                f"there is no request {request_id!r}: cmk requests lists those that are open"
            )
        return found

    def approve(self, request_id: str) -> Request:
        """Approve a request, as another person than the one who made it; return it.

        What it asks for is done when the same call is made again, once, before it expires.

        Raises:
            ConfigurationError: you have made it yourself, nobody can tell who you are, it is not pending any
                more, its time is over, or the tenant's keys have changed since.
        """
        return off_the_loop(lambda: self._approved(request_id))

    def refuse(self, request_id: str, reason: str = "") -> Request:
        """Refuse a request, also one that was approved and not used yet; return it.

        The tenant's other open requests are void then, as after a change of its keys.

        Args:
            request_id: its id.
            reason: why, for the audit trail; no secret.

        Raises:
            ConfigurationError: it is not open any more, or nobody can tell who you are.
        """
        return off_the_loop(lambda: self._closed(self.find(request_id), RequestState.REFUSED, reason))

    def withdraw(self, request_id: str) -> Request:
        """Withdraw a request that you have made, as :meth:`refuse` refuses one; return it.

        Raises:
            ConfigurationError: somebody else has made it, or it is not open any more.
        """
        request, actor = self.find(request_id), self._steps.actor()
        if actor != request.requested_by:
            raise ConfigurationError(
                f"request {request.id} was made by {request.requested_by!r}, who alone can withdraw it: "
                "refuse it instead"
            )
        return off_the_loop(lambda: self._closed(request, RequestState.WITHDRAWN, ""))

    def set_clock(self, now: Callable[[], datetime]) -> None:
        """Have requests expire by another clock than the system's, for tests.

        Args:
            now: returns the time, in UTC.
        """
        self._steps.now = now

    def close_all(self, why: str) -> None:
        """Close every open request: what authenticates them is about to change."""
        for one in self._rows.open():
            self._steps.take(one, RequestState.VOID, why)

    def _living(self, tenant: str | None) -> list[Request]:
        found = self._rows.open(tenant)
        stored = self._store.keys_of_all({one.tenant for one in found})
        return [one for one in found if self._is_living(one, stored[one.tenant])]

    def _is_living(self, request: Request, keys: TenantKeys | CmkError | None) -> bool:
        """Return whether a request may still be approved or used; note that it may not."""
        state, why = RequestState.EXPIRED, ""
        if not self._steps.is_over(request):
            if not isinstance(keys, TenantKeys) or keys.tenant.epoch == request.epoch:
                return True
            state, why = RequestState.VOID, CHANGED
        with suppress(KeyUnavailable):  # the next look notes it
            self._steps.take(request, state, why)
        return False

    def _approved(self, request_id: str) -> Request:
        request, actor = self.find(request_id), self._steps.actor()
        if actor == request.requested_by:
            raise ConfigurationError(
                f"request {request.id} was made by {actor!r}, who is the actor here too: another person has "
                "to approve it"
            )
        if request.state is not RequestState.PENDING:
            raise _not_open(request)
        if self._steps.is_over(request):
            self._steps.take(request, RequestState.EXPIRED)
            raise _not_open(self.find(request_id))
        keys = self._store.keys_of(request.tenant)
        if keys is None or keys.tenant.epoch != request.epoch:
            self._steps.take(request, RequestState.VOID, CHANGED)
            raise _not_open(self.find(request_id))
        if not self._steps.take(request, RequestState.APPROVED, actor=actor):
            raise _not_open(self.find(request_id))
        return self.find(request_id)

    def _closed(self, request: Request, state: RequestState, reason: str) -> Request:
        actor = self._steps.actor()
        if not request.state.is_open or not self._steps.take(
            request, state, reason[:LONGEST_REASON], actor=actor
        ):
            raise _not_open(self.find(request.id))
        return self.find(request.id)


def _not_open(request: Request) -> ConfigurationError:
    state: str = request.state
    if request.state is RequestState.APPROVED:
        state = f"approved already, by {request.decided_by!r}"
    why = f": {request.decision}" if request.decision else ""
    return ConfigurationError(
        f"request {request.id} is {state}{why}; ask for it again where it is still wanted"
    )
