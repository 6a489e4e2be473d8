"""Changes a tenant's keys without touching a data row. See :class:`Lifecycle`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.approvals.guard import Guard, joined
from sqlalchemy_cmk.keys.arguments import TENANTS, names_of
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.indexes.users import TokenUsers
from sqlalchemy_cmk.keys.lifecycle.assigning import Assigning, AssignReport
from sqlalchemy_cmk.keys.lifecycle.changes import Changes
from sqlalchemy_cmk.keys.lifecycle.dropping import DropReport, RowsLeft, droppable
from sqlalchemy_cmk.keys.lifecycle.leaving import Leaving
from sqlalchemy_cmk.keys.lifecycle.many_changes import ManyChanges
from sqlalchemy_cmk.keys.lifecycle.rewrapping import Rewrapping, RewrapReport
from sqlalchemy_cmk.keys.lifecycle.rotating import Rotating
from sqlalchemy_cmk.keys.lifecycle.wrappings import Wrappings
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantState
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.ownership import Ownership
from sqlalchemy_cmk.keys.records import KeyChange, TenantKeys
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.clock import duration, utc_now
from sqlalchemy_cmk.runtime.kinds import FUNCTION, KEK_URI, NUMBER, Kind, takes
from sqlalchemy_cmk.runtime.pace import Pace
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

RATE = replace(NUMBER, words="a number of DEKs a second").or_none
MOMENT = Kind((datetime,), "a datetime")


class Lifecycle:
    """Changes a tenant's keys; available as ``keyring.lifecycle``.

    Each change is one transaction, written with its audit event, safe to run twice, and safe while the
    application runs: other processes continue with the DEKs they have open, and see the change when they
    prove them again, within ``revalidate_after`` (``outage_grace`` where a KEK cannot be reached).

    Every method raises :class:`ConfigurationError` if no provider handles a KEK's URI or the tenant is
    unknown, :class:`KeyRevoked` if a KEK that is needed refuses, and :class:`KeyUnavailable` if a KEK or the
    key tables cannot be reached now. Nothing is changed then. With ``Keyring(two_people=)`` those that need a
    second person raise :class:`ApprovalRequired` until one has approved.
    """

    def __init__(
        self,
        store: KeyStore,
        wrapper: Wrapper,
        ownership: Ownership,
        observations: Observations,
        forget: Callable[[Collection[str]], None],
        longest_use: float,
        token_users: TokenUsers,
        guard: Guard,
        platform_key: str,
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._ownership = ownership
        self._observations = observations
        self.changes = self._changes = Changes(store, wrapper, observations, forget, longest_use)
        self._many = ManyChanges(store, wrapper.calls, forget)
        self._longest_use = longest_use
        self._token_users = token_users
        self._guard = guard
        self._leaving = Leaving(guard, platform_key)

    @takes(kek_uri=KEK_URI)
    def assign(self, tenant: object, kek_uri: str, *, fresh_dek: bool = False) -> None:
        """Wrap a tenant's DEKs with another KEK, its own or the platform's, and only with that one.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            kek_uri: the KEK's URI.
            fresh_dek: also make a new active DEK, for new values of randomized columns. Old backups of the
                key tables hold the old wrappings: the old KEK and a backup open what was sealed under the old
                DEKs, but nothing that was sealed under a DEK that only the new KEK has wrapped.
        """
        self._assigning(kek_uri, fresh_dek=fresh_dek).tenant(key_owner(tenant))

    @takes(tenants=TENANTS, kek_uri=KEK_URI, rate=RATE, progress=FUNCTION)
    def assign_many(
        self,
        tenants: Iterable[object],
        kek_uri: str,
        *,
        fresh_dek: bool = False,
        rate: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> AssignReport:
        """Move many tenants to a KEK as :meth:`assign` moves one, side by side: all of a region, say.

        A tenant whose own KEK refuses or cannot be reached, or which the new KEK may not serve, is reported,
        and the others are moved. If a run is stopped, tenants that were moved stay moved.

        Args:
            tenants: the tenants' names.
            kek_uri: the KEK's URI.
            fresh_dek: as for :meth:`assign`, for each of them.
            rate: the most DEKs per second; ``None`` for no limit.
            progress: called after each tenant.

        Raises:
            ConfigurationError: ``tenants`` is one name, or no provider handles the KEK's URI.
            KeyRevoked: the new KEK refuses; likewise :class:`KeyUnavailable`. Nothing is changed then.
        """
        return self._assigning(kek_uri, fresh_dek=fresh_dek, rate=rate).tenants(names_of(tenants), progress)

    @takes(rate=RATE, progress=FUNCTION)
    def rewrap(
        self,
        tenant: object | None = None,
        *,
        rate: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RewrapReport:
        """Wrap DEKs with the newest version of their KEKs, after those were rotated, side by side.

        DEKs that the newest version wraps already are skipped, so a run that was stopped continues where it
        stopped. A tenant whose KEK refuses or cannot be reached is reported, and the others are rewrapped.

        Args:
            tenant: the tenant; ``None`` for every tenant.
            rate: the most DEKs per second; ``None`` for no limit.
            progress: called after each tenant.
        """
        rewrapping = self._rewrapping(rate)
        if tenant is not None:
            report = RewrapReport(1, rewrapping.tenant(key_owner(tenant)))
            progress()
            return report
        return rewrapping.tenants(self._store.tenants_with_keys(), progress)

    @takes(kek_uri=KEK_URI)
    def rewrap_under(self, kek_uri: str) -> RewrapReport:
        """Rewrap the DEKs of every tenant that a KEK wraps, as :meth:`rewrap` does."""
        return self._rewrapping(None).tenants(self._store.tenants_under(kek_uri), lambda: None)

    def _rewrapping(self, rate: float | None) -> Rewrapping:
        return Rewrapping(self._changes, self._many, self._wrapper, self._observations, Pace(rate))

    def rotate_dek(self, tenant: object, purpose: Purpose | str = Purpose.RANDOMIZED) -> None:
        """Make a new active DEK for a tenant; the old one is retired, and still opens what it sealed.

        Args:
            tenant: the tenant's name.
            purpose: ``"randomized"``, or ``"deterministic"``: values of deterministic columns sealed before
                and after the rotation are not equal until the rows are re-encrypted.

        Raises:
            ConfigurationError: a search index has tokens under the DEK: they are made again by ``cmk rekey
                indexes --rotate``.
        """
        kind = Purpose.named(purpose)
        self._token_users.refuse_rotation(kind)
        Rotating(self._changes, self._observations, kind).rotate(tenant)

    @takes(purpose=Kind((Purpose,), "a Purpose, such as Purpose.SEARCH"))
    def retire_search(self, purpose: Purpose) -> int:
        """Retire every tenant's DEK of a purpose under which no index has tokens any longer.

        The next rotation makes new ones. No KEK is asked. Returns how many were retired.

        Raises:
            ConfigurationError: an index has tokens under DEKs of this purpose.
        """
        self._token_users.refuse_rotation(purpose)
        rotating = Rotating(self._changes, self._observations, purpose)
        return sum(rotating.retire(tenant) for tenant in self._store.tenants_with_keys())

    @takes(kek_uri=KEK_URI)
    def add_wrapping(self, tenant: object, kek_uri: str) -> None:
        """Wrap a tenant's DEKs with a second KEK too, for example in another region. Any one of them opens.

        The tenant's data is closed only when access to both has been taken away.
        """
        self._wrapper.ensure(key_owner(tenant), kek_uri, self._store)
        self._ownership.require(key_owner(tenant), kek_uri)
        Wrappings(self._changes, self._leaving, kek_uri).add(tenant)

    @takes(kek_uri=KEK_URI)
    def drop_wrapping(self, tenant: object, kek_uri: str) -> int:
        """Remove a KEK's wrappings from a tenant's DEKs; return how many DEKs it wrapped.

        Raises:
            ConfigurationError: a DEK would be left without a wrapping, so that nothing could open it.
        """
        return Wrappings(self._changes, self._leaving, kek_uri).drop(tenant)

    @takes(rows_left=FUNCTION, as_of=MOMENT.or_none)
    def drop_retired(
        self, tenant: object, rows_left: RowsLeft, *, as_of: datetime | None = None
    ) -> DropReport:
        """Destroy a tenant's retired DEKs under which no row is left; the report says why others are kept.

        A DEK that was retired a moment ago is kept: other processes seal under it until they notice, for at
        most the longer of ``revalidate_after`` and ``outage_grace``, and a minute for clocks that differ. The
        longest settings count of all processes that have ever sealed under it.
        :func:`sqlalchemy_cmk.rekey.drop_retired` counts the rows and calls this.

        Args:
            tenant: the tenant's name.
            rows_left: given DEK ids, counts the rows under each, by ``table.column``, in every sealed column.
            as_of: a time before the counting began; by default now.
        """
        began = as_of or utc_now()
        report = DropReport()

        def plan(keys: TenantKeys) -> KeyChange | None:
            nonlocal report
            retired = [dek for dek in keys.living if dek.state is DekState.RETIRED]
            report = droppable(retired, rows_left, began, self._longest_use, self._token_users.of)
            if not report.dropped:
                return None
            name, deks = keys.tenant.name, [one.hex() for one in report.dropped]
            passed = self._guard.passed(keys, EventKind.DROP_RETIRED, {"deks": sorted(deks)})
            events = [AuditEvent(EventKind.DROP_RETIRED, name, one, detail=passed.note) for one in deks]
            return KeyChange(tuple(events), destroy=report.dropped, beside=passed.beside)

        self._changes.make(tenant, plan)
        return report

    def shred(self, tenant: object, *, confirm: str) -> None:
        """Destroy every wrapping of a tenant: its data can never be opened again, in any copy made from now
        on.

        Older backups of the key tables still hold wrappings; the KEK's owner makes those useless as well by
        destroying the KEK.

        Args:
            tenant: the tenant's name.
            confirm: the tenant's name, repeated.

        Raises:
            ConfigurationError: ``confirm`` is not the tenant's name, or it is the platform.
        """
        name = key_owner(tenant)
        if name == PLATFORM_TENANT:
            raise ConfigurationError(
                "the platform's own keys cannot be shredded: its rows belong to every tenant"
            )
        if confirm != name:
            raise ConfigurationError(
                "nothing was shredded: give confirm= the tenant's name, exactly as in tenant="
            )

        self._changes.make(name, self._shredding, shredded_too=True)

    def ask_to_shred(self, tenant: object) -> None:
        """Find out whether a tenant may be shredded, before work that only makes sense if it is.

        Raises:
            ApprovalRequired: a second person has to approve it first.
        """
        keys = self._store.keys_of(key_owner(tenant))
        if keys is not None:
            self._shredding(keys)

    def _shredding(self, keys: TenantKeys) -> KeyChange | None:
        owner, ids = keys.tenant, tuple(dek.id for dek in keys.living)
        if owner.state is TenantState.SHREDDED and not ids:
            return None
        passed = self._guard.passed(keys, EventKind.SHRED, {"deks": sorted(one.hex() for one in ids)})
        detail = joined(f"{len(ids)} DEKs", passed.note)
        event = AuditEvent(EventKind.SHRED, owner.name, "", owner.kek_uri, detail=detail)
        shredded = replace(owner, state=TenantState.SHREDDED, reason=None)
        return KeyChange((event,), shredded, destroy=ids, beside=passed.beside)

    def set_grace(self, tenant: object, seconds: float | timedelta | None) -> None:
        """Set how long an outage of a tenant's KEK is ridden out with DEKs that are already open.

        Anyone who controls the network between the application and the vault can stretch a revocation to this
        time: 0 makes an unreachable KEK close the tenant's data within ``revalidate_after``. Other processes
        learn of it when they prove the tenant's DEKs again.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            seconds: seconds from the last proof, or a ``timedelta``; ``None`` for the keyring's
                ``outage_grace``.

        Raises:
            ConfigurationError: it is not a duration.
        """
        grace = None if seconds is None else duration(seconds, "an outage_grace")

        def plan(keys: TenantKeys) -> KeyChange | None:
            if keys.tenant.outage_grace == grace:
                return None
            detail = "the keyring's" if grace is None else f"{grace:g} s"
            event = AuditEvent(EventKind.SET_GRACE, keys.tenant.name, detail=detail)
            active = [dek.id for dek in keys.deks if dek.state is DekState.ACTIVE]
            longest_use = dict.fromkeys(active, grace or 0.0)
            return KeyChange((event,), replace(keys.tenant, outage_grace=grace), longest_use=longest_use)

        self._changes.make(tenant, plan)

    def _assigning(self, kek_uri: str, *, fresh_dek: bool, rate: float | None = None) -> Assigning:
        return Assigning(
            self._store,
            self._changes,
            self._many,
            self._wrapper,
            self._ownership,
            self._leaving,
            kek_uri,
            fresh_dek=fresh_dek,
            pace=Pace(rate),
        )
