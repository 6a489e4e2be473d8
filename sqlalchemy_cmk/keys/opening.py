"""Opening DEKs: proven by their KEK, proven again in time, ridden through an outage, dropped when refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.audit import AuditTrail
from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.keys.later import Later
from sqlalchemy_cmk.keys.model import DekRecord, DekState, OpenedDek, Purpose, TenantState
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.keys.refusals import Refusals
from sqlalchemy_cmk.keys.single_flight import SingleFlight
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.telemetry import Telemetry
from sqlalchemy_cmk.keys.wrapper import Wrapper

Found = TypeVar("Found")

# Seconds by which two machines' clocks may differ, and a statement may take from sealing to the database.
CLOCKS_APART = 60

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Times:
    """For how long keys stay open, in seconds.

    Attributes:
        revalidate_after: until an opened DEK is proven anew.
        outage_grace: for how long opened DEKs serve on while their KEK cannot be reached.
        retry_after: until a KEK that refused is asked again, or one that could not be reached while its
            DEKs are open.
        jitter: the part of ``revalidate_after``, 0 to 1, by which a proof may come earlier.
    """

    revalidate_after: float
    outage_grace: float
    retry_after: float
    jitter: float

    @property
    def settle_after(self) -> float:
        """Until no process seals under a retired DEK: it was proven anew, or its grace is over."""
        return max(self.revalidate_after, self.outage_grace) + CLOCKS_APART


class Opener:
    """Opens stored DEKs and keeps them for a bounded time.

    Args:
        times: for how long.
        store: where DEKs are stored.
        wrapper: asks the KEKs.
        opened: where opened DEKs are kept.
        audit: told of cold opens.
        telemetry: counts them.
        later: writes how it stands with a tenant, for people: no key waits for that.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        times: Times,
        store: KeyStore,
        wrapper: Wrapper,
        opened: OpenedKeys,
        audit: AuditTrail,
        telemetry: Telemetry,
        later: Later,
        clock: Callable[[], float],
    ) -> None:
        self._times = times
        self._store = store
        self._wrapper = wrapper
        self._opened = opened
        self._audit = audit
        self._telemetry = telemetry
        self._later = later
        self._clock = clock
        self._flights = SingleFlight()
        self._refusals = Refusals(times.retry_after, clock)
        self._proofs: dict[tuple[str, str], float] = {}

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return a DEK by its id, opened; ``None`` where there is none."""

        def load() -> OpenedDek | None:
            record = self._store.dek(dek_id)
            return None if record is None else self.prove(record)

        def find() -> OpenedDek | None:
            return self._opened.fresh(dek_id) or self._or_grace(self._opened.stale(dek_id), load)

        return self._once(dek_id, find, lambda: self._riding(self._opened.stale(dek_id)))

    def active(self, tenant: str, purpose: Purpose, make: Callable[[], OpenedDek]) -> OpenedDek:
        """Return a tenant's active DEK, opened; ``make`` makes it where there is none."""

        def load() -> OpenedDek:
            record = self._store.active_dek(tenant, purpose)
            opened = make() if record is None else self._proven_or_open(record)
            self._opened.activate(opened)
            return opened

        def find() -> OpenedDek:
            fresh = self._opened.fresh_active(tenant, purpose)
            if fresh is not None:
                return fresh
            return self._or_grace(self._opened.stale_active(tenant, purpose), load)

        return self._once(
            (tenant, purpose), find, lambda: self._riding(self._opened.stale_active(tenant, purpose))
        )

    def prove(self, record: DekRecord) -> OpenedDek:
        """Have a stored DEK proven by a KEK, once for everyone who asks at the same time."""
        return self._flights.do(
            ("prove", record.id),
            lambda: self._opened.fresh(record.id) or self._prove(record),
            lambda: self._riding(self._opened.stale(record.id)),
        )

    def keep(self, record: DekRecord, key: bytes, proven_at: float) -> OpenedDek:
        """Keep a DEK that a KEK has just proven."""
        opened = OpenedDek(record, key, proven_at, self._deadline(proven_at))
        self._opened.put(opened)
        return opened

    def forget(self, tenant: str | None = None) -> None:
        """Drop what is open, and what was refused, of a tenant or of all."""
        self._opened.drop(tenant)
        self._refusals.forget(tenant)

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads: nobody ends them here."""
        self._flights.after_fork()

    def _once(
        self, question: object, find: Callable[[], Found], meanwhile: Callable[[], Found | None]
    ) -> Found:
        return self._flights.do(question, lambda: self._refusals.ask(question, find), meanwhile)

    def _proven_or_open(self, record: DekRecord) -> OpenedDek:
        """Prove the active DEK, or ride on with it where reading has opened it and nothing was sealed yet."""
        return self._or_grace(self._opened.stale(record.id), lambda: self.prove(record))

    def _prove(self, record: DekRecord) -> OpenedDek:
        if record.state is not DekState.ACTIVE:
            self._opened.deactivate(record.id)
        stale = self._opened.stale(record.id)
        if stale is not None and self._proven_by_another(stale, record):
            return stale
        now = self._clock()
        try:
            key, wrapped = self._wrapper.unwrap(record)
        except KeyRevoked as error:
            moved = self._moved(record)
            if moved is not None:
                return self._prove(moved)
            self._refused(record, str(error))
            raise KeyRevoked(str(error), record.tenant) from error
        self._note_proof((wrapped.kek_uri, wrapped.kek_version), now)
        event = AuditEvent("unwrap", record.tenant, record.id.hex(), wrapped.kek_uri, wrapped.kek_version)
        if stale is None:
            self._audit.soon(event)
            self._telemetry.cold_open()
        self._note_state(record, event)
        return self.keep(record, key, now)

    def _moved(self, record: DekRecord) -> DekRecord | None:
        """Return a DEK as it is stored now, where its wrappings changed between our look and our call."""
        try:
            now = self._store.dek(record.id)
        except KeyUnavailable:
            return None
        return now if now is not None and set(now.wrappings) != set(record.wrappings) else None

    def _proven_by_another(self, stale: OpenedDek, record: DekRecord) -> bool:
        """Renew an open DEK where the KEK version that wraps it has just unwrapped another DEK.

        What is proven anew is that the KEK's owner still gives access. One unwrap tells that for every
        DEK under the same KEK version.
        """
        now = self._clock()
        for wrapped in record.wrappings:
            proven_at = self._proofs.get((wrapped.kek_uri, wrapped.kek_version), stale.proven_at)
            deadline = self._deadline(proven_at)
            if proven_at > stale.proven_at and now < deadline:
                self._opened.renew(stale, proven_at, deadline)
                return True
        return False

    def _refused(self, record: DekRecord, reason: str) -> None:
        self._opened.drop(record.tenant)
        for wrapped in record.wrappings:
            self._proofs.pop((wrapped.kek_uri, wrapped.kek_version), None)
        if record.wrappings and record.tenant_state is TenantState.OK:
            kek = record.wrappings[0]
            event = AuditEvent("revoked", record.tenant, "", kek.kek_uri, kek.kek_version, reason)
            self._later.do(("state", record.tenant), lambda: self._store.note_refused(record.tenant, event))

    def _note_state(self, record: DekRecord, event: AuditEvent) -> None:
        if self._store.is_news(record):
            restored = AuditEvent("restored", record.tenant, "", event.kek_uri, event.kek_version)
            self._later.do(("state", record.tenant), lambda: self._store.note_opened(record, restored))

    def _or_grace(self, stale: OpenedDek | None, load: Callable[[], Found]) -> Found | OpenedDek:
        """Ride out an outage with a key that is already open, until the grace is over."""
        try:
            return load()
        except KeyUnavailable:
            now = self._clock()
            if stale is None or now >= stale.proven_at + self._times.outage_grace:
                if stale is not None:
                    self._opened.drop(stale.tenant)
                raise
            until = min(now + self._times.retry_after, stale.proven_at + self._times.outage_grace)
            self._opened.renew(stale, stale.proven_at, until)
            return stale

    def _riding(self, stale: OpenedDek | None) -> OpenedDek | None:
        """Return an open DEK if its KEK is known to be out of reach: nobody need wait for the next try.

        So a KEK that does not answer holds up one thread until its time-out, and not every thread.
        """
        if stale is None or stale.deadline <= stale.proven_at + self._times.revalidate_after:
            return None
        return stale if self._clock() < stale.proven_at + self._times.outage_grace else None

    def _note_proof(self, kek: tuple[str, str], now: float) -> None:
        if len(self._proofs) > 2 * self._opened.max_open:
            oldest = now - self._times.revalidate_after
            self._proofs = {key: at for key, at in self._proofs.items() if at > oldest}
        self._proofs[kek] = now

    def _deadline(self, proven_at: float) -> float:
        earlier = self._times.jitter * _random.random()
        return proven_at + self._times.revalidate_after * (1 - earlier)
