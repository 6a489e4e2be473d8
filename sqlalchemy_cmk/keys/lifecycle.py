"""What happens to keys over their life. See :class:`Lifecycle`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.keys.dropping import DropReport, RowsLeft, weighed
from sqlalchemy_cmk.keys.making import keks_of, new_dek
from sqlalchemy_cmk.keys.model import DekRecord, DekState, KeyChange, Purpose, TenantRecord, TenantState
from sqlalchemy_cmk.keys.rewrapping import Pace, RewrapReport, stale_wrappings
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

ATTEMPTS = 10

Plan = Callable[[TenantRecord, list[DekRecord]], KeyChange | None]


class Lifecycle:
    """Changes to keys that touch no data row; found at ``keyring.lifecycle``.

    Each is one transaction for a tenant, written with its audit event, safe to run twice, and safe while the
    application runs: other processes go on with the DEKs they have open, and see the change when they
    prove them anew, within ``revalidate_after``.

    Every method raises :class:`ConfigurationError` when no provider handles a KEK's URI or the tenant is
    unknown, :class:`KeyRevoked` when a KEK that is needed refuses, and :class:`KeyUnavailable` when one,
    or the key tables, cannot be reached now. Nothing is changed then.
    """

    def __init__(
        self,
        platform_key: str,
        store: KeyStore,
        wrapper: Wrapper,
        forget: Callable[[str], None],
        settle_after: float,
    ) -> None:
        self._platform_key = platform_key
        self._store = store
        self._wrapper = wrapper
        self._forget = forget
        self._settle_after = settle_after

    def assign(self, tenant: object, kek_uri: str, *, fresh_dek: bool = False) -> None:
        """Give a tenant a KEK, or give it back to the platform's: its DEKs are wrapped by that one alone.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            kek_uri: the KEK's URI.
            fresh_dek: also make a new active DEK, for new values of randomized columns. Old backups of
                the key tables hold the old wrappings: whoever has the old KEK and a backup opens what
                was sealed under the old DEKs, but nothing sealed under one that only the new KEK wrapped.
        """
        provider = self._wrapper.provider_of(kek_uri)
        self._wrapper.ensure(kek_uri, self._store.keks_in_use())
        provider.check(kek_uri)

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange:
            wrapped = {dek.id: (self._wrapper.wrap(kek_uri, self._open(dek)),) for dek in living}
            event = AuditEvent("assign", owner.name, "", kek_uri, detail=f"from {owner.kek_uri}")
            change = KeyChange((event,), kek_uri, TenantState.OK, wrappings=wrapped)
            return self._with_fresh_dek(change, owner, living, (kek_uri,)) if fresh_dek else change

        self._change(tenant, plan, first_kek=kek_uri)

    def rewrap(
        self,
        tenant: object | None = None,
        *,
        rate: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RewrapReport:
        """Wrap DEKs by the newest version of their KEKs, after those were rotated.

        DEKs that are wrapped by the newest version already are left alone: a run that was ended goes on
        where it stopped. A tenant whose KEK refuses or cannot be reached is reported, and the rest goes on.

        Args:
            tenant: one tenant; all without it.
            rate: at most so many DEKs a second.
            progress: called after each tenant.
        """
        report, pace = RewrapReport(), Pace(rate)
        names = [line.tenant for line in self._store.tenants() if line.state is not TenantState.SHREDDED]
        for name in names if tenant is None else [key_owner(tenant)]:
            try:
                report.rewrapped += self._rewrap(name, pace)
                report.tenants += 1
            except CmkError as error:
                if tenant is not None:
                    raise
                report.failed[name] = str(error)
            progress()
        return report

    def rotate_dek(self, tenant: object, purpose: Purpose | str = Purpose.SEAL) -> None:
        """Make a new active DEK for a tenant; the old one is retired, and still opens what it sealed.

        Args:
            tenant: the tenant's name.
            purpose: ``"seal"``. Rotating ``"fixed"`` ends the equality of values sealed before and after
                until the rows are re-encrypted.
        """
        kind = Purpose(purpose)

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange:
            event = AuditEvent("rotate", owner.name, "", owner.kek_uri, detail=kind)
            return self._with_fresh_dek(KeyChange((event,)), owner, living, keks_of(owner, living), kind)

        self._change(tenant, plan)

    def add_wrapping(self, tenant: object, kek_uri: str) -> None:
        """Have a second KEK wrap a tenant's DEKs too, in another region say: any one of them opens.

        Both have to be taken away for the tenant's data to be shut.
        """
        self._wrapper.ensure(kek_uri, self._store.keks_in_use())

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange | None:
            bare = [dek for dek in living if all(one.kek_uri != kek_uri for one in dek.wrappings)]
            if living and not bare:
                return None
            if not living:
                raise ConfigurationError(f"tenant {owner.name!r} has no DEK yet: call keyring.warm first")
            wrapped = {dek.id: (*dek.wrappings, self._wrapper.wrap(kek_uri, self._open(dek))) for dek in bare}
            return KeyChange((AuditEvent("add_wrapping", owner.name, "", kek_uri),), wrappings=wrapped)

        self._change(tenant, plan)

    def drop_wrapping(self, tenant: object, kek_uri: str) -> None:
        """Take a KEK's wrappings away from a tenant's DEKs.

        Raises:
            ConfigurationError: some DEK would be left without a wrapping, so that nobody could open it.
        """

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange | None:
            having = [dek for dek in living if any(one.kek_uri == kek_uri for one in dek.wrappings)]
            if not having:
                return None
            left = {dek.id: _without(dek, kek_uri) for dek in having}
            for dek in having:
                self._open(replace(dek, wrappings=left[dek.id]))
            next_kek = next(iter(left.values()))[0].kek_uri if owner.kek_uri == kek_uri else owner.kek_uri
            event = AuditEvent("drop_wrapping", owner.name, "", kek_uri)
            return KeyChange((event,), next_kek, wrappings=left)

        self._change(tenant, plan)

    def drop_retired(
        self, tenant: object, rows_left: RowsLeft, *, as_of: datetime | None = None
    ) -> DropReport:
        """Destroy a tenant's retired DEKs under which no row is left; the others are kept, and told why.

        A DEK that was retired a moment ago is kept: other processes seal under it until they have noticed,
        at most the longer of ``revalidate_after`` and ``outage_grace``, and a minute for clocks that differ.
        :func:`sqlalchemy_cmk.rekey.drop_retired` counts, and calls this.

        Args:
            tenant: the tenant's name.
            rows_left: given DEK ids, counts the rows under each, by ``table.column``, in every sealed column
                there is.
            as_of: when the counting began, or will begin at the earliest; now, without it.
        """
        began = as_of or datetime.now(UTC)
        report = DropReport()

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange | None:
            nonlocal report
            retired = [dek for dek in living if dek.state is DekState.RETIRED]
            report = weighed(retired, rows_left, began, self._settle_after)
            if not report.dropped:
                return None
            events = [AuditEvent("drop_retired", owner.name, one.hex()) for one in report.dropped]
            gone = dict.fromkeys(report.dropped, ())
            return KeyChange(tuple(events), destroy=report.dropped, wrappings=gone)

        self._change(tenant, plan)
        return report

    def shred(self, tenant: object, *, confirm: str) -> None:
        """Destroy every wrapping of a tenant: its data is gone for ever, in every copy made from now on.

        Backups of the key tables keep the wrappings of their day; the KEK's owner ends those too by
        destroying the KEK.

        Args:
            tenant: the tenant's name.
            confirm: the same name, typed again.

        Raises:
            ConfigurationError: ``confirm`` is not the tenant's name, or it is the platform.
        """
        name = key_owner(tenant)
        if name == PLATFORM_TENANT:
            raise ConfigurationError("the platform's own keys are not shredded: its rows belong to all")
        if confirm != name:
            raise ConfigurationError("nothing was shredded: confirm= is the tenant's name, typed again")

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange | None:
            if owner.state is TenantState.SHREDDED and not living:
                return None
            event = AuditEvent("shred", name, "", owner.kek_uri, detail=f"{len(living)} DEKs")
            ids = tuple(dek.id for dek in living)
            gone = dict.fromkeys(ids, ())
            return KeyChange((event,), state=TenantState.SHREDDED, destroy=ids, wrappings=gone)

        self._change(name, plan, shredded_too=True)

    def _rewrap(self, name: str, pace: Pace) -> int:
        rewrapped = 0

        def plan(owner: TenantRecord, living: list[DekRecord]) -> KeyChange | None:
            nonlocal rewrapped
            old = stale_wrappings(self._wrapper, living)
            wrapped = {}
            for dek in living:
                if any(one in old for one in dek.wrappings):
                    pace.wait()
                    key = self._open(dek)
                    wrapped[dek.id] = tuple(
                        self._wrapper.wrap(one.kek_uri, key) if one in old else one for one in dek.wrappings
                    )
            rewrapped = len(wrapped)
            if not wrapped:
                return None
            event = AuditEvent("rewrap", owner.name, "", owner.kek_uri, detail=f"{rewrapped} DEKs")
            return KeyChange((event,), wrappings=wrapped)

        self._change(name, plan)
        return rewrapped

    def _with_fresh_dek(
        self,
        change: KeyChange,
        owner: TenantRecord,
        living: list[DekRecord],
        kek_uris: tuple[str, ...],
        purpose: Purpose = Purpose.SEAL,
    ) -> KeyChange:
        record, _ = new_dek(self._wrapper, owner.name, purpose, kek_uris)
        active = [dek.id for dek in living if dek.purpose is purpose and dek.state is DekState.ACTIVE]
        return replace(change, new=(record,), retire=tuple(active))

    def _open(self, dek: DekRecord) -> bytes:
        return self._wrapper.unwrap(dek)[0]

    def _change(
        self, tenant: object, plan: Plan, *, first_kek: str | None = None, shredded_too: bool = False
    ) -> None:
        """Plan a change on what is stored and commit it, anew where somebody else was first."""
        name = key_owner(tenant)
        for _ in range(ATTEMPTS):
            owner = self._store.tenant(name)
            if owner is None and first_kek is not None:
                owner = self._store.add_tenant(name, first_kek)
            if owner is None:
                raise ConfigurationError(f"no tenant {name!r} has keys here")
            if owner.state is TenantState.SHREDDED and not shredded_too:
                raise KeyRevoked(f"tenant {name!r} was shredded: its keys are gone for ever", name)
            change = plan(owner, self._store.living_deks(name))
            if change is None or self._store.apply(owner, change):
                self._forget(name)
                return
        raise KeyUnavailable(f"the keys of tenant {name!r} keep changing under us: try again")


def _without(dek: DekRecord, kek_uri: str) -> tuple[Wrapped, ...]:
    left = tuple(one for one in dek.wrappings if one.kek_uri != kek_uri)
    if not left:
        raise ConfigurationError(
            f"{kek_uri} is the last KEK of DEK {dek.id.hex()}: assign another first, or shred the tenant"
        )
    return left
