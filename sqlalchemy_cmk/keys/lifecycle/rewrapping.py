"""Wraps DEKs by the newest version of their KEKs, after those were rotated. See :class:`Rewrapping`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.lifecycle.many_changes import ManyChanges
from sqlalchemy_cmk.keys.opening.flows import Flow, Turn
from sqlalchemy_cmk.keys.opening.kek_calls import calls_of_change
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.because import doing
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
    """Rewraps tenants' DEKs, side by side. Each KEK is asked for its newest version once, when it is needed.

    Args:
        changes: opens and wraps DEKs.
        many: plans and commits the changes.
        wrapper: looks up the newest versions of KEKs.
        observations: notes which KEKs refuse.
        pace: the rate of DEKs.
    """

    def __init__(
        self, changes: Changes, many: ManyChanges, wrapper: Wrapper, observations: Observations, pace: Pace
    ) -> None:
        self._changes = changes
        self._many = many
        self._wrapper = wrapper
        self._observations = observations
        self._pace = pace
        self._newest: dict[str, str | None] = {}
        self._rewrapped: dict[str, int] = {}

    def tenants(self, names: Iterable[str], progress: Callable[[], None]) -> RewrapReport:
        """Rewrap the DEKs of these tenants; one that fails is reported, and the others go on."""
        report = RewrapReport()

        def landed(name: str, error: CmkError | None) -> None:
            rewrapped = self._rewrapped.pop(name, 0)
            if error is None:
                report.rewrapped += rewrapped
                report.tenants += 1
            else:
                report.failed[name] = str(error)
            progress()

        with doing("rewrap"):
            self._many.make(names, self._plan, landed)
        return report

    def tenant(self, name: str) -> int:
        """Rewrap a tenant's DEKs; return how many."""
        with doing("rewrap"):
            self._many.make_one(name, self._plan)
        return self._rewrapped.pop(name, 0)

    def _plan(self, keys: TenantKeys) -> Flow[KeyChange | None]:
        old = yield from self._stale(keys)
        wrappings: dict[bytes, tuple[Wrapped, ...]] = {}
        for dek in keys.living:
            if not old.isdisjoint(dek.wrappings):
                wrappings[dek.id] = yield from self._without_old(keys, dek, old)
        owner = keys.tenant
        self._rewrapped[owner.name] = len(wrappings)
        if not wrappings:
            return None
        detail = f"{len(wrappings)} DEKs, {calls_of_change(owner.name)}"
        event = AuditEvent(EventKind.REWRAP, owner.name, "", owner.kek_uri, detail=detail)
        return KeyChange((event,), wrappings=wrappings)

    def _without_old(self, keys: TenantKeys, dek: DekRecord, old: set[Wrapped]) -> Flow[tuple[Wrapped, ...]]:
        """Return a DEK's wrappings, the old ones made again.

        A DEK is wrapped again by the KEK of a wrapping that has itself given this DEK, and by no other's.
        """
        wrappings = []
        for one in dek.wrappings:
            if one in old:
                yield Turn(self._pace)
                by_this = replace(dek, wrappings=(one,))
                wrappings.append((yield from self._changes.wrapping(one.kek_uri, keys, by_this)))
            else:
                wrappings.append(one)
        return tuple(wrappings)

    def _stale(self, keys: TenantKeys) -> Flow[set[Wrapped]]:
        """Return the wrappings that are not by the newest version of their KEK, as far as that is known."""
        wrappings = {one for dek in keys.living for one in dek.wrappings}
        with self._observations.noting(keys):
            for uri in sorted({one.kek_uri for one in wrappings} - self._newest.keys()):
                self._newest[uri] = yield from self._wrapper.looking_up(uri)
        # None, where the provider cannot tell, equals no version.
        return {one for one in wrappings if one.kek_version != self._newest[one.kek_uri]}
