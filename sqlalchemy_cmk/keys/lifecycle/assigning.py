"""Wraps tenants' DEKs by another KEK, and by that one only. See :class:`Assigning`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sqlalchemy_cmk.errors import ApprovalRequired, CmkError
from sqlalchemy_cmk.keys.approvals.guard import joined
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.lifecycle.leaving import Leaving
from sqlalchemy_cmk.keys.lifecycle.many_changes import ManyChanges
from sqlalchemy_cmk.keys.model import Purpose, TenantState
from sqlalchemy_cmk.keys.opening.flows import Flow, Turn
from sqlalchemy_cmk.keys.opening.kek_calls import calls_of_change
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.ownership import Ownership
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys, refuse_locked
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.pace import Pace


@dataclass(slots=True)
class AssignReport:
    """The result of moving many tenants to a KEK.

    Attributes:
        assigned: the tenants whose DEKs the KEK wraps now.
        requested: by tenant, the request for it that waits for a second person.
        failed: by tenant, why it stays where it was.
    """

    assigned: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    requested: dict[str, str] = field(default_factory=dict)


class Assigning:
    """Moves tenants to a KEK, side by side.

    Args:
        store: reads the key tables.
        changes: opens and wraps DEKs.
        many: plans and commits the changes.
        wrapper: calls the providers.
        ownership: refuses a KEK that does not name the tenant.
        leaving: knows whether a second person has to approve.
        kek_uri: the KEK.
        fresh_dek: whether each tenant has a new active DEK too.
        pace: the rate of DEKs.
    """

    def __init__(
        self,
        store: KeyStore,
        changes: Changes,
        many: ManyChanges,
        wrapper: Wrapper,
        ownership: Ownership,
        leaving: Leaving,
        kek_uri: str,
        *,
        fresh_dek: bool,
        pace: Pace,
    ) -> None:
        self._store = store
        self._changes = changes
        self._many = many
        self._wrapper = wrapper
        self._ownership = ownership
        self._leaving = leaving
        self._kek_uri = kek_uri
        self._fresh_dek = fresh_dek
        self._pace = pace

    def tenants(self, names: Iterable[str], progress: Callable[[], None]) -> AssignReport:
        """Move tenants; one that fails is reported, and the others are moved.

        Raises:
            CmkError: the KEK itself cannot serve. Nothing is changed then.
        """
        report = AssignReport()

        def landed(name: str, error: CmkError | None) -> None:
            if error is None:
                report.assigned.append(name)
            elif isinstance(error, ApprovalRequired):
                report.requested[name] = error.request
            else:
                report.failed[name] = str(error)
            progress()

        allowed = []
        for name in dict.fromkeys(names):
            try:
                self._wrapper.require_allowed(name, self._kek_uri)
            except CmkError as error:
                landed(name, error)
            else:
                allowed.append(name)
        if allowed:
            self._wrapper.ensure(allowed[0], self._kek_uri, self._store)
            refused = self._ownership.refusals(allowed, self._kek_uri)
            for name, not_owned in refused.items():
                landed(name, not_owned)
            owned = [name for name in allowed if name not in refused]
            if owned:
                self._wrapper.check(owned[0], self._kek_uri)
                self._many.make(owned, self._plan, landed, first_kek=self._kek_uri)
        return report

    def tenant(self, name: str) -> None:
        """Move one tenant."""
        self._wrapper.ensure(name, self._kek_uri, self._store)
        self._ownership.require(name, self._kek_uri)
        self._wrapper.check(name, self._kek_uri)
        self._many.make_one(name, self._plan, first_kek=self._kek_uri)

    def _plan(self, keys: TenantKeys) -> Flow[KeyChange | None]:
        refuse_locked(keys)
        owner, kek_uri = keys.tenant, self._kek_uri
        passed = self._leaving.assigned(keys, kek_uri, fresh_dek=self._fresh_dek)
        wrapped: dict[bytes, tuple[Wrapped, ...]] = {}
        for dek in keys.living:
            yield Turn(self._pace)
            wrapped[dek.id] = ((yield from self._changes.wrapping(kek_uri, keys, dek)),)
        detail = joined(f"from {owner.kek_uri}", passed.note, calls_of_change(owner.name))
        event = AuditEvent(EventKind.ASSIGN, owner.name, "", kek_uri, detail=detail)
        assigned = replace(owner, kek_uri=kek_uri, state=TenantState.OK, reason=None)
        change = KeyChange((event,), assigned, wrappings=wrapped, beside=passed.beside)
        if not self._fresh_dek:
            return change
        return (yield from self._changes.with_fresh_dek(change, keys, (kek_uri,), Purpose.RANDOMIZED))
