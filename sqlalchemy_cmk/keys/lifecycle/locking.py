"""Locks a tenant, and unlocks it: its keys are closed here, whatever its KEK says. See :class:`Locking`."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy_cmk.keys.approvals.guard import Guard, joined
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.lock_watch import LockWatch
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys
from sqlalchemy_cmk.scope import key_owner


class Locking:
    """Locks tenants and unlocks them.

    Args:
        changes: commits the changes, and drops the tenant's opened DEKs from this process.
        watch: notices locks in this process.
        guard: knows whether a second person has to approve.
    """

    def __init__(self, changes: Changes, watch: LockWatch, guard: Guard) -> None:
        self._changes = changes
        self._guard = guard
        self._watch = watch

    def lock(self, tenant: object, reason: str = "") -> None:
        """Lock a tenant; see :meth:`Keyring.lock`. One that is locked already stays as it is."""

        def plan(keys: TenantKeys) -> KeyChange | None:
            if keys.tenant.state is TenantState.LOCKED:
                return None
            event = AuditEvent(EventKind.LOCK, keys.tenant.name, "", keys.tenant.kek_uri, detail=reason)
            return KeyChange((event,), replace(keys.tenant, state=TenantState.LOCKED, reason=reason or None))

        self._changes.make(tenant, plan)
        self._watch.locked(key_owner(tenant))

    def unlock(self, tenant: object, reason: str = "") -> None:
        """Unlock a tenant; see :meth:`Keyring.unlock`. One that is not locked stays as it is."""

        def plan(keys: TenantKeys) -> KeyChange | None:
            if keys.tenant.state is not TenantState.LOCKED:
                return None
            passed = self._guard.passed(keys, EventKind.UNLOCK, {}, reason)
            detail = joined(reason, passed.note)
            event = AuditEvent(EventKind.UNLOCK, keys.tenant.name, "", keys.tenant.kek_uri, detail=detail)
            unlocked = replace(keys.tenant, state=TenantState.OK, reason=None)
            return KeyChange((event,), unlocked, beside=passed.beside)

        self._changes.make(tenant, plan)
        self._watch.unlocked(key_owner(tenant))
