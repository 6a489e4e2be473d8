"""Wraps a tenant's DEKs by a second KEK too, and drops a KEK's wrappings. See :class:`Wrappings`."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.approvals.guard import joined
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.lifecycle.leaving import Leaving
from sqlalchemy_cmk.keys.opening.kek_calls import calls_of_change
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.providers.uris import shown


class Wrappings:
    """Plans and commits these changes.

    Args:
        changes: opens and wraps DEKs, and commits.
        leaving: asks whether a tenant may leave a KEK.
        kek_uri: the KEK.
    """

    def __init__(self, changes: Changes, leaving: Leaving, kek_uri: str) -> None:
        self._changes = changes
        self._leaving = leaving
        self._kek_uri = kek_uri
        self._dropped = 0

    def add(self, tenant: object) -> None:
        """Wrap a tenant's DEKs by the KEK too; those that it wraps stay as they are."""
        self._changes.make(tenant, self._added)

    def drop(self, tenant: object) -> int:
        """Remove the KEK's wrappings; return how many DEKs of the tenant it wrapped."""
        self._dropped = 0
        self._changes.make(tenant, self._without)
        return self._dropped

    def _added(self, keys: TenantKeys) -> KeyChange | None:
        living, name, kek_uri = keys.living, keys.tenant.name, self._kek_uri
        bare = [dek for dek in living if all(one.kek_uri != kek_uri for one in dek.wrappings)]
        if living and not bare:
            return None
        if not living:
            raise ConfigurationError(f"tenant {name!r} has no DEK yet: call keyring.warm first")
        passed = self._leaving.joined(keys, kek_uri)
        wrapped = {dek.id: (*dek.wrappings, self._changes.wrap(kek_uri, keys, dek)) for dek in bare}
        detail = joined(passed.note, calls_of_change(name))
        event = AuditEvent(EventKind.ADD_WRAPPING, name, "", kek_uri, detail=detail)
        return KeyChange((event,), wrappings=wrapped, beside=passed.beside)

    def _without(self, keys: TenantKeys) -> KeyChange | None:
        owner, kek_uri = keys.tenant, self._kek_uri
        having = [dek for dek in keys.living if any(one.kek_uri == kek_uri for one in dek.wrappings)]
        self._dropped = len(having)
        if not having:
            return None
        left = {dek.id: _without(dek, kek_uri) for dek in having}
        for dek in having:
            self._changes.open(keys, replace(dek, wrappings=left[dek.id]))
        next_kek = next(iter(left.values()))[0].kek_uri if owner.kek_uri == kek_uri else owner.kek_uri
        passed = self._leaving.passed(keys, {kek_uri}, {"drop_wrapping": kek_uri})
        detail = joined(passed.note, calls_of_change(owner.name))
        event = AuditEvent(EventKind.DROP_WRAPPING, owner.name, "", kek_uri, detail=detail)
        changed = replace(owner, kek_uri=next_kek)
        return KeyChange((event,), changed, wrappings=left, beside=passed.beside)


def _without(dek: DekRecord, kek_uri: str) -> tuple[Wrapped, ...]:
    left = tuple(one for one in dek.wrappings if one.kek_uri != kek_uri)
    if not left:
        raise ConfigurationError(
            f"{shown(kek_uri)} is the last KEK of DEK {dek.id.hex()}: assign another first, or shred the "
            "tenant"
        )
    return left
