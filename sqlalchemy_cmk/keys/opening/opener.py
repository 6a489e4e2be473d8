"""Opens DEKs: proven by their KEK, proven again in time, usable during an outage, dropped when refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import SystemRandom
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Proof, Purpose, TenantState
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.opening.longest_use import LongestUse
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.refresher import Refresher
from sqlalchemy_cmk.keys.opening.revocation_cache import RevocationCache
from sqlalchemy_cmk.keys.opening.single_flight import SingleFlight
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys, TenantRecord
from sqlalchemy_cmk.keys.storage.database import waits_for_lock
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.secret import Secret

Found = TypeVar("Found")
Dek = TypeVar("Dek", OpenedDek, OpenedDek | None)

# Seconds within which a KEK answers, with all attempts; a proof that is used once may be so old.
LONGEST_CALL = 60.0
ATTEMPTS = 3

_random = SystemRandom()


class Opener:
    """Opens stored DEKs and caches them for a bounded time.

    Args:
        policy: how long opened DEKs stay usable.
        store: stores DEKs.
        wrapper: calls the providers.
        opened: the cache of opened DEKs.
        audit: records cold opens.
        telemetry: counts cold opens.
        observations: notes what calls to a tenant's KEK have shown.
        refresher: notes each proof, and has DEKs in use proven again.
        clock: returns monotonic seconds.

    Attributes:
        longest_use: notes this process's settings with the DEKs that it seals under.
    """

    def __init__(
        self,
        policy: CachePolicy,
        store: KeyStore,
        wrapper: Wrapper,
        opened: OpenedKeys,
        audit: AuditTrail,
        telemetry: Telemetry,
        observations: Observations,
        refresher: Refresher,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._store = store
        self._wrapper = wrapper
        self._opened = opened
        self._audit = audit
        self._telemetry = telemetry
        self._observations = observations
        self._refresher = refresher
        self._clock = clock
        self.longest_use = LongestUse(policy.longest_use, store)
        self._flights = SingleFlight()
        self._revocations = RevocationCache(policy.retry_after, clock)
        self._proofs: dict[tuple[str, str], float] = {}
        refresher.prove_with(self.refresh)

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return a DEK by its id, opened; ``None`` if there is none."""

        def load() -> OpenedDek | None:
            stored = self._stored(dek_id)
            return None if stored is None else self.prove(*stored)

        def find() -> OpenedDek | None:
            return self._opened.fresh(dek_id) or self._within_grace(self._opened.stale(dek_id), load)

        return self._once(dek_id, find, lambda: self._stale_during_outage(self._opened.stale(dek_id)))

    def active(self, tenant: str, purpose: Purpose, make: Callable[[], OpenedDek]) -> OpenedDek:
        """Return a tenant's active DEK, opened; ``make`` makes it if there is none."""
        return self._active((tenant, purpose), tenant, purpose, lambda _: make(), seals=True)

    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return a tenant's active DEK, opened; ``None`` if there is none, and none is made.

        Raises:
            KeyRevoked: the KEK refuses, or the tenant was shredded.
        """

        def none(keys: TenantKeys | None) -> OpenedDek | None:
            if keys is not None and keys.tenant.state is TenantState.SHREDDED:
                raise KeyRevoked(f"tenant {tenant!r} was shredded: it has no values any more", tenant)
            return None

        return self._active(("existing", tenant, purpose), tenant, purpose, none, seals=False)

    def _active(
        self,
        question: object,
        tenant: str,
        purpose: Purpose,
        otherwise: Callable[[TenantKeys | None], Dek],
        *,
        seals: bool,
    ) -> Dek:
        """Return a tenant's active DEK, opened, or what is done otherwise where it has none.

        One that only seals what a query compares with may come from a database that cannot be written.
        """

        def load() -> Dek:
            keys = self._noted(tenant, purpose, seals)
            record = None if keys is None else keys.active(purpose)
            if keys is not None and record is not None:
                opened: Dek = self._proven_or_open(keys, record)
            else:
                opened = otherwise(keys)
            if opened is not None and (seals or self.longest_use.is_noted(keys, purpose)):
                self._opened.activate(opened)
            return opened

        def find() -> Dek:
            fresh = self._opened.fresh_active(tenant, purpose)
            if fresh is not None:
                return fresh
            return self._within_grace(self._opened.stale_active(tenant, purpose), load)

        # A caller that waits for the lock of the key tables does not share the call of one that does not.
        return self._once(
            (question, waits_for_lock()),
            find,
            lambda: self._stale_during_outage(self._opened.stale_active(tenant, purpose)),
        )

    def _noted(self, tenant: str, purpose: Purpose, seals: bool) -> TenantKeys | None:
        try:
            return self.longest_use.noted(tenant, purpose)
        except KeyUnavailable:
            if seals:
                raise
        return self._store.keys_of(tenant)

    def prove(self, keys: TenantKeys, record: DekRecord) -> OpenedDek:
        """Let a KEK prove one of a tenant's DEKs, once for all callers that ask at the same time."""
        return self._flights.do(
            ("prove", record.id),
            lambda: self._opened.fresh(record.id) or self._prove(keys, record),
            lambda: self._stale_during_outage(self._opened.stale(record.id)),
        )

    def refresh(self, dek_ids: Iterable[bytes]) -> list[bytes]:
        """Prove open DEKs again, whose deadline has not passed: nobody waits for this.

        A KEK that refuses shuts its tenant at once. Any other error is for those who need the DEK after its
        deadline.

        Returns:
            The DEKs whose KEK, or the key tables, could not be reached, and those that were not tried for it.
        """
        left = list(dek_ids)
        while left:
            try:
                self._revocations.ask(left[0], partial(self._refresh, left[0]))
            except KeyUnavailable:
                break
            except CmkError:
                pass
            del left[0]
        return left

    def keep(
        self,
        tenant: TenantRecord,
        record: DekRecord,
        key: Secret,
        by: Wrapped,
        proven_at: float,
        *,
        opens: bool = True,
    ) -> OpenedDek:
        """Cache a DEK that a KEK has just proven.

        Args:
            tenant: whose it is.
            record: the DEK as it is stored.
            key: the DEK in the clear.
            by: the wrapping that gave them.
            proven_at: when, in seconds of the keyring's clock.
            opens: whether it is cached if it is not open, or was dropped while the KEK was asked.
        """
        kek = by.kek_uri, by.kek_version
        proof = Proof(proven_at, kek, self._deadline(proven_at), self._grace(tenant))
        opened = self._opened.peek(record.id)
        if opened is None or not self._opened.renew_by(opened, proof):
            opened = OpenedDek(record.id, record.tenant, record.purpose, key, proof)
            if not opens:
                return opened
            self._opened.put(opened)
        self._refresher.proven(opened)
        return opened

    def forget(self, tenant: str | None = None) -> None:
        """Drop the opened DEKs and the cached refusals of a tenant, or all of them."""
        self._opened.drop(tenant)
        self._revocations.forget(tenant)

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._flights.after_fork()

    def _once(
        self, question: object, find: Callable[[], Found], meanwhile: Callable[[], Found | None]
    ) -> Found:
        for _ in range(ATTEMPTS):
            found = self._flights.do(question, lambda: self._revocations.ask(question, find), meanwhile)
            if not isinstance(found, OpenedDek) or self._is_in_time(found):
                return found
        raise KeyUnavailable("the answers of a KEK come too late to be used: try again")

    def _is_in_time(self, dek: OpenedDek) -> bool:
        """Return whether a proof still holds: the machine may have slept since the KEK was asked."""
        grace = dek.outage_grace if dek.rides_out else 0.0
        return self._clock() < max(dek.deadline, dek.proven_at + max(LONGEST_CALL, grace))

    def _proven_or_open(self, keys: TenantKeys, record: DekRecord) -> OpenedDek:
        """Prove the active DEK; during an outage use it if reading has opened it already."""
        return self._within_grace(self._opened.stale(record.id), lambda: self.prove(keys, record))

    def _refresh(self, dek_id: bytes) -> None:
        stored = self._stored(dek_id)
        if stored is not None and self._opened.peek(dek_id) is not None:
            self._flights.do(("prove", dek_id), partial(self._prove, *stored, opens=False))

    def _stored(self, dek_id: bytes) -> tuple[TenantKeys, DekRecord] | None:
        """Return a DEK as it is stored now, with its tenant's keys."""
        keys = self._store.keys_with(dek_id)
        record = None if keys is None else keys.dek(dek_id)
        return None if keys is None or record is None else (keys, record)

    def _prove(self, keys: TenantKeys, record: DekRecord, *, opens: bool = True) -> OpenedDek:
        if record.state is not DekState.ACTIVE:
            self._opened.deactivate(record.id)
        stale = self._opened.peek(record.id)
        if stale is not None:
            stale.outage_grace = self._grace(keys.tenant)
            if self._proven_by_another(stale, record):
                return stale
        now = self._clock()
        try:
            key, wrapped = self._wrapper.unwrap(record)
        except KeyRevoked as error:
            moved = self._moved(record)
            if moved is not None:
                return self._prove(*moved, opens=opens)
            self._refused(keys, record, str(error))
            raise KeyRevoked(str(error), record.tenant) from error
        self._note_proof((wrapped.kek_uri, wrapped.kek_version), now)
        if stale is None:
            kek = wrapped.kek_uri, wrapped.kek_version
            self._audit.soon(AuditEvent(EventKind.UNWRAP, record.tenant, record.id.hex(), *kek))
            self._telemetry.cold_open()
        self._observations.opened(keys, wrapped)
        return self.keep(keys.tenant, record, key, wrapped, now, opens=opens)

    def _moved(self, record: DekRecord) -> tuple[TenantKeys, DekRecord] | None:
        """Return a DEK as stored now, if its wrappings changed between reading them and calling the KEK."""
        try:
            stored = self._stored(record.id)
        except KeyUnavailable:
            return None
        moved = stored is not None and set(stored[1].wrappings) != set(record.wrappings)
        return stored if moved else None

    def _proven_by_another(self, stale: OpenedDek, record: DekRecord) -> bool:
        """Renew an opened DEK if the KEK version that unwrapped it has unwrapped another DEK since.

        A proof shows that the KEK's owner still gives access. One unwrap shows it for every DEK that this KEK
        version has itself unwrapped here, and for no other: a row may name any KEK.
        """
        if all(stale.proven_by != (one.kek_uri, one.kek_version) for one in record.wrappings):
            return False
        self._wrapper.require_allowed(record.tenant, stale.proven_by[0])
        proven_at = self._proofs.get(stale.proven_by, stale.proven_at)
        deadline = self._deadline(proven_at)
        if proven_at <= stale.proven_at or self._clock() >= deadline:
            return False
        self._opened.renew(stale, proven_at, deadline)
        self._refresher.proven(stale)
        return True

    def _refused(self, keys: TenantKeys, record: DekRecord, reason: str) -> None:
        self._opened.drop(record.tenant)
        for wrapped in record.wrappings:
            self._proofs.pop((wrapped.kek_uri, wrapped.kek_version), None)
        if record.wrappings:
            self._observations.refused(keys, record.wrappings[0], reason)

    def _within_grace(self, stale: OpenedDek | None, load: Callable[[], Found]) -> Found | OpenedDek:
        """Return ``load()``, or the opened DEK if the KEK cannot be reached and the grace is not over."""
        try:
            with self._opened.in_question(stale):
                return load()
        except KeyUnavailable as error:
            now = self._clock()
            if stale is None or now >= stale.proven_at + stale.outage_grace:
                if stale is not None:
                    self._opened.drop(stale.tenant)
                raise
            self._ride_out(stale, now, type(error).__name__)
            return stale

    def _ride_out(self, dek: OpenedDek, now: float, reason: str) -> None:
        """Use a DEK past its deadline; the audit trail records when that begins."""
        if not dek.rides_out:
            dek.rides_out = True
            detail = f"{reason}: in use for at most {dek.outage_grace:g} s from its last proof"
            self._audit.soon(AuditEvent(EventKind.RIDE_OUT, dek.tenant, dek.id.hex(), *dek.proven_by, detail))
        until = min(now + self._policy.retry_after, dek.proven_at + dek.outage_grace)
        self._opened.renew(dek, dek.proven_at, until)

    def _stale_during_outage(self, stale: OpenedDek | None) -> OpenedDek | None:
        """Return an opened DEK if its KEK is known to be out of reach, so that its callers need not wait.

        A KEK that does not answer then holds up one thread until its time-out, and not every thread.
        """
        if stale is None or stale.deadline <= stale.proven_at + self._policy.revalidate_after:
            return None
        return stale if self._clock() < stale.proven_at + stale.outage_grace else None

    def _grace(self, tenant: TenantRecord) -> float:
        return self._policy.outage_grace if tenant.outage_grace is None else tenant.outage_grace

    def _note_proof(self, kek: tuple[str, str], now: float) -> None:
        if len(self._proofs) > 2 * self._opened.max_open:
            oldest = now - self._policy.revalidate_after
            self._proofs = {key: at for key, at in self._proofs.items() if at > oldest}
        self._proofs[kek] = now

    def _deadline(self, proven_at: float) -> float:
        return self._policy.deadline(proven_at, _random.random())
