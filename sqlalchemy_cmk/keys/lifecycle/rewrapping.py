"""Wraps DEKs by the newest version of their KEKs, after those were rotated. See :class:`Rewrapping`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.pace import Pace


@dataclass(slots=True)
class RewrapReport:
    """The result of a rewrap.

    Attributes:
        tenants: the number of tenants that the newest KEK versions wrap now.
        rewrapped: the number of DEKs that were wrapped again.
        failed: by tenant, why its DEKs could not be rewrapped.
    """

    tenants: int = 0
    rewrapped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Rewrapping:
    """Rewraps tenants' DEKs.

    Args:
        changes: plans and commits the changes.
        wrapper: looks up the newest versions of KEKs.
        observations: notes which KEKs refuse.
        pace: the rate of DEKs.
    """

    def __init__(self, changes: Changes, wrapper: Wrapper, observations: Observations, pace: Pace) -> None:
        self._changes = changes
        self._wrapper = wrapper
        self._observations = observations
        self._pace = pace

    def tenants(self, names: Iterable[str], progress: Callable[[], None]) -> RewrapReport:
        """Rewrap the DEKs of these tenants; one that fails is reported, and the others go on."""
        report = RewrapReport()
        for name in names:
            try:
                report.rewrapped += self.tenant(name)
                report.tenants += 1
            except CmkError as error:
                report.failed[name] = str(error)
            progress()
        return report

    def tenant(self, name: str) -> int:
        """Rewrap a tenant's DEKs; return how many."""
        rewrapped = 0

        def plan(keys: TenantKeys) -> KeyChange | None:
            nonlocal rewrapped
            old = self._stale(keys)
            wrappings = {
                dek.id: tuple(self._rewrapped(keys, dek, one) if one in old else one for one in dek.wrappings)
                for dek in keys.living
                if not old.isdisjoint(dek.wrappings)
            }
            rewrapped = len(wrappings)
            if not wrappings:
                return None
            owner = keys.tenant
            event = AuditEvent(EventKind.REWRAP, owner.name, "", owner.kek_uri, detail=f"{rewrapped} DEKs")
            return KeyChange((event,), wrappings=wrappings)

        self._changes.make(name, plan)
        return rewrapped

    def _rewrapped(self, keys: TenantKeys, dek: DekRecord, wrapped: Wrapped) -> Wrapped:
        """Wrap a DEK again by the KEK of a wrapping that has itself given this DEK, and by no other's."""
        self._pace.wait()
        return self._changes.wrap(wrapped.kek_uri, keys, replace(dek, wrappings=(wrapped,)))

    def _stale(self, keys: TenantKeys) -> set[Wrapped]:
        """Return the wrappings that are not by the newest version of their KEK; each KEK is asked once."""
        wrappings = {one for dek in keys.living for one in dek.wrappings}
        keks = sorted({one.kek_uri for one in wrappings})
        with self._observations.noting(keys):
            newest = {uri: self._wrapper.newest_version(uri) for uri in keks}
        return {one for one in wrappings if one.kek_version != newest[one.kek_uri]}
