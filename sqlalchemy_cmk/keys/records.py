"""A tenant's keys as they are stored: immutable records, and what one transaction changes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from sqlalchemy_cmk.errors import KeyLocked, KeyUnavailable
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantState
from sqlalchemy_cmk.providers.base import Wrapped


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as it is stored.

    Attributes:
        name: the tenant's name; ``""`` is the platform.
        kek_uri: the KEK that wraps its new DEKs.
        created_at: when its record was made (UTC, whole seconds).
        epoch: how many times its keys were changed.
        state: ``ok``, ``revoked``, ``locked`` or ``shredded``.
        reason: why its KEK refuses, or why it is locked.
        state_since: when it entered that state (UTC, whole seconds).
        outage_grace: seconds for which its opened DEKs stay usable while its KEK cannot be reached; ``None``
            for the keyring's.
    """

    name: str
    kek_uri: str
    created_at: datetime
    epoch: int = 0
    state: TenantState = TenantState.OK
    reason: str | None = None
    state_since: datetime | None = None
    outage_grace: float | None = None


@dataclass(frozen=True, slots=True)
class DekRecord:
    """A DEK as it is stored: wrapped by one KEK or by several, any of which opens it.

    Attributes:
        check_value: proves which DEK this is, and whose (:mod:`sqlalchemy_cmk.keys.manifest.check_value`).
        created_at: when it was made (UTC, whole seconds).
        retired_at: when another DEK became the active one; ``None`` while this one is active.
        longest_use: the longest time, in seconds from a proof, for which any process may use it.
    """

    id: bytes
    tenant: str
    purpose: Purpose
    state: DekState
    wrappings: tuple[Wrapped, ...]
    check_value: bytes
    created_at: datetime
    retired_at: datetime | None = None
    longest_use: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What one transaction does to a tenant's keys.

    Attributes:
        events: what the audit trail records.
        tenant: the tenant as it will be; ``None`` if it stays as it is.
        new: DEKs to add, active.
        retire: ids of DEKs to retire.
        destroy: ids of DEKs to destroy, with their wrappings.
        wrappings: by DEK id, the wrappings that replace all that the DEK has.
        longest_use: by DEK id, for how many seconds from a proof some process may use it; never lowered.
        beside: writes more in the same transaction; returns ``False`` if another process was first, so
            that nothing is changed.
    """

    events: tuple[AuditEvent, ...] = ()
    tenant: TenantRecord | None = None
    new: tuple[DekRecord, ...] = ()
    retire: tuple[bytes, ...] = ()
    destroy: tuple[bytes, ...] = ()
    wrappings: Mapping[bytes, tuple[Wrapped, ...]] = field(default_factory=dict)
    longest_use: Mapping[bytes, float] = field(default_factory=dict)
    beside: Callable[[Connection], bool] | None = None


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """All keys of one tenant: the record that its manifest authenticates.

    Attributes:
        tenant: the tenant.
        deks: its DEKs in the order of their ids, also those that were destroyed.
        seen_at: when its KEK last opened a DEK; an observation, which is not authenticated.
        stored: whether the tenant is in the key tables; a new one is put there with its first change.
    """

    tenant: TenantRecord
    deks: tuple[DekRecord, ...] = ()
    seen_at: datetime | None = None
    stored: bool = True

    @property
    def living(self) -> list[DekRecord]:
        """The DEKs that have not been destroyed."""
        return [one for one in self.deks if one.state is not DekState.DESTROYED]

    def dek(self, dek_id: bytes) -> DekRecord | None:
        """Return the DEK of an id, or ``None``."""
        return next((one for one in self.deks if one.id == dek_id), None)

    def active(self, purpose: Purpose) -> DekRecord | None:
        """Return the DEK that seals new values for a purpose, or ``None``."""
        of_purpose = (one for one in self.deks if one.purpose is purpose)
        return next((one for one in of_purpose if one.state is DekState.ACTIVE), None)

    def changed(self, change: KeyChange, at: datetime) -> TenantKeys:
        """Return the keys after a change.

        Args:
            change: the change.
            at: when it is made (UTC, whole seconds).
        """
        tenant = replace(change.tenant or self.tenant, epoch=self.tenant.epoch + 1)
        if tenant.state is not self.tenant.state:
            tenant = replace(tenant, state_since=at)
        deks = [self._changed(one, change, at) for one in self.deks]
        deks += [replace(one, created_at=at) for one in change.new]
        return TenantKeys(tenant, tuple(sorted(deks, key=lambda one: one.id)), self.seen_at)

    @staticmethod
    def _changed(dek: DekRecord, change: KeyChange, at: datetime) -> DekRecord:
        if dek.id in change.wrappings:
            dek = replace(dek, wrappings=by_kek(change.wrappings[dek.id]))
        if change.longest_use.get(dek.id, 0.0) > dek.longest_use:
            dek = replace(dek, longest_use=change.longest_use[dek.id])
        if dek.id in change.destroy:
            return replace(dek, state=DekState.DESTROYED, wrappings=())
        if dek.id in change.retire:
            return replace(dek, state=DekState.RETIRED, retired_at=at)
        return dek


def by_kek(wrappings: Iterable[Wrapped]) -> tuple[Wrapped, ...]:
    """Return a DEK's wrappings in the order of their KEKs, in which they are read."""
    return tuple(sorted(wrappings, key=lambda one: one.kek_uri))


def changed_meanwhile(tenant: str) -> KeyUnavailable:
    """Return the error for a tenant whose keys others change, each time that a change is planned."""
    return KeyUnavailable(f"the keys of tenant {tenant!r} are being changed by other processes: try again")


def locked(tenant: str) -> KeyLocked:
    """Return the error for a tenant that is locked."""
    return KeyLocked(
        f"tenant {tenant!r} is locked: its keys stay closed until keyring.unlock, or cmk unlock", tenant
    )


def refuse_locked(keys: TenantKeys) -> None:
    """Refuse to open, or to make, keys of a tenant that is locked.

    Raises:
        KeyLocked: it is.
    """
    if keys.tenant.state is TenantState.LOCKED:
        raise locked(keys.tenant.name)
