"""Has KEKs prove DEKs: by an unwrap where the KEK lives, or by one of another DEK that it has wrapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from random import SystemRandom

from sqlalchemy_cmk.errors import KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.events.tampering import Altered, Tampering
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Proof, TenantState
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.opening.flows import Flow, done
from sqlalchemy_cmk.keys.opening.lock_watch import LockWatch
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.refresher import Refresher
from sqlalchemy_cmk.keys.opening.single_flight import Land, SingleFlight
from sqlalchemy_cmk.keys.opening.telemetry import Telemetry
from sqlalchemy_cmk.keys.opening.wrapper import Unwrapped, Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys, TenantRecord, locked
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.because import done_for

# A DEK as it is stored, among its tenant's keys.
Stored = tuple[TenantKeys, DekRecord]

# Seconds within which a KEK answers, with all attempts; a proof that is used once may be so old.
LONGEST_CALL = 60.0

_random = SystemRandom()


class Prover:
    """Proves stored DEKs and caches them for a bounded time.

    Args:
        policy: how long opened DEKs stay usable.
        store: stores DEKs.
        wrapper: calls the providers.
        opened: the cache of opened DEKs.
        audit: records cold opens.
        telemetry: counts cold opens.
        observations: notes what calls to a tenant's KEK have shown.
        refresher: notes each proof, and has DEKs in use proven again.
        locks: notices tenants that are locked while their DEKs are open.
        tampering: notes KEKs that unwrap another key.
        clock: returns monotonic seconds.
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
        locks: LockWatch,
        tampering: Tampering,
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
        self._locks = locks
        self._tampering = tampering
        self._clock = clock
        self._flights = SingleFlight()
        self._proofs: dict[tuple[str, str], float] = {}

    def prove_all(self, wanted: Mapping[bytes, Stored], landed: Land[bytes], *, ahead: bool = False) -> None:
        """Let KEKs prove DEKs, side by side, and each once for all callers that ask at the same time.

        Args:
            wanted: the DEKs by their ids.
            landed: is given each id with the opened DEK, or with why it could not be proven.
            ahead: whether DEKs are proven whose deadline has not passed, and only those that are open.
        """

        def prove(ids: list[bytes], land: Land[bytes]) -> None:
            self._prove(wanted, ids, land, ahead)

        def meanwhile(dek_id: bytes) -> OpenedDek | None:
            return self.stale_during_outage(self._opened.stale(dek_id))

        self._flights.do_all(wanted, prove, meanwhile, landed)

    def keep(
        self, tenant: TenantRecord, record: DekRecord, proof: Unwrapped, *, opens: bool = True
    ) -> OpenedDek:
        """Cache a DEK that a KEK has just proven.

        Args:
            tenant: whose it is.
            record: the DEK as it is stored.
            proof: what the KEK has given.
            opens: whether it is cached if it is not open, or was dropped while the KEK was asked.

        Raises:
            KeyLocked: the tenant was locked while the KEK was asked.
        """
        kek = _kek(proof.by.kek_uri, proof.by.kek_version)
        about = Proof(proof.at, kek, self._deadline(proof.at), self._grace(tenant))
        opened = self._opened.peek(record.id)
        if opened is None or not self._opened.renew_by(opened, about):
            opened = OpenedDek(record.id, record.tenant, record.purpose, proof.key, about)
            if not opens:
                return opened
            self._opened.put(opened)
            self._locks.watch()
            self._refuse_shut_out(opened)
        self._refresher.proven(opened)
        return opened

    def is_in_time(self, dek: OpenedDek) -> bool:
        """Return whether a proof still holds that was just asked for: the machine may have slept since."""
        if dek.tenant in self._opened.shut_out_now:
            return False
        grace = dek.outage_grace if dek.rides_out else 0.0
        return self._clock() < max(dek.deadline, dek.proven_at + max(LONGEST_CALL, grace))

    def stale_during_outage(self, stale: OpenedDek | None) -> OpenedDek | None:
        """Return an opened DEK if its KEK is known to be out of reach, so that its callers need not wait.

        A KEK that does not answer then holds up one thread until its time-out, and not every thread.
        """
        if stale is None or stale.deadline <= stale.proven_at + self._policy.revalidate_after:
            return None
        return stale if self._clock() < stale.proven_at + stale.outage_grace else None

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._flights.after_fork()

    def _prove(
        self, wanted: Mapping[bytes, Stored], ids: list[bytes], land: Land[bytes], ahead: bool
    ) -> None:
        """Prove DEKs; of those that one KEK version has opened, one first: that may prove them all."""
        first: dict[bytes, Stored] = {}
        others: list[bytes] = []
        asked: set[tuple[str, str]] = set()
        for dek_id in ids:
            fresh = None if ahead else self._opened.fresh(dek_id)
            stale = self._opened.peek(dek_id)
            if fresh is not None:
                land(dek_id, done(fresh))
            elif stale is not None and stale.proven_by in asked:
                others.append(dek_id)
            else:
                first[dek_id] = wanted[dek_id]
                asked.update(() if stale is None else (stale.proven_by,))
        for each in (first, {dek_id: wanted[dek_id] for dek_id in others}):
            flows = {dek_id: self._proving(*one, ahead=ahead) for dek_id, one in each.items()}
            self._wrapper.calls.follow_all(flows, land)

    def _proving(self, keys: TenantKeys, record: DekRecord, *, ahead: bool) -> Flow[OpenedDek]:
        if keys.tenant.state is TenantState.LOCKED:
            self._opened.drop(record.tenant)
            raise locked(record.tenant)
        if record.state is not DekState.ACTIVE:
            self._opened.deactivate(record.id)
        stale = self._opened.peek(record.id)
        if stale is not None:
            stale.outage_grace = self._grace(keys.tenant)
            if self._proven_by_another(stale, record):
                self._observations.reached(record.tenant, *stale.proven_by)
                return stale
        try:
            reason = "open" if stale is None else "proof"
            proof = yield from self._wrapper.unwrapping(record, reason, record.id)
        except KeyRevoked as error:
            moved = self._moved(record)
            if moved is not None:
                return (yield from self._proving(*moved, ahead=ahead))
            self._refused(keys, record, str(error))
            raise KeyRevoked(str(error), record.tenant) from error
        except KeyUnavailable as error:
            self._observations.unreached(keys, record.wrappings[0] if record.wrappings else None, error)
            raise
        except TamperedError as error:
            self._tampering.found(record.tenant, Altered.ANSWER, str(error))
            raise
        kek = _kek(proof.by.kek_uri, proof.by.kek_version)
        self._note_proof(kek, proof.at)
        self._tampering.gone(record.tenant, Altered.ANSWER)
        if stale is None:
            called = f"{done_for(reason)}, call {proof.call}"
            self._audit.soon(AuditEvent(EventKind.UNWRAP, record.tenant, record.id.hex(), *kek, called))
            self._telemetry.cold_open()
        self._observations.opened(keys, proof.by)
        return self.keep(keys.tenant, record, proof, opens=not ahead)

    def _refuse_shut_out(self, opened: OpenedDek) -> None:
        # After it was put there: the thread that notices the lock either finds it there, or is found here.
        if opened.tenant in self._opened.shut_out_now:
            self._opened.drop(opened.tenant)
            raise locked(opened.tenant)

    def _moved(self, record: DekRecord) -> Stored | None:
        """Return a DEK as stored now, if its wrappings changed between reading them and calling the KEK."""
        try:
            keys = self._store.keys_with(record.id)
        except KeyUnavailable:
            return None
        now = None if keys is None else keys.dek(record.id)
        if keys is None or now is None or set(now.wrappings) == set(record.wrappings):
            return None
        return keys, now

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

    def _grace(self, tenant: TenantRecord) -> float:
        return self._policy.outage_grace if tenant.outage_grace is None else tenant.outage_grace

    def _note_proof(self, kek: tuple[str, str], now: float) -> None:
        if len(self._proofs) > 2 * self._opened.max_open:
            oldest = now - self._policy.revalidate_after
            self._proofs = {key: at for key, at in self._proofs.items() if at > oldest}
        self._proofs[kek] = max(now, self._proofs.get(kek, now))

    def _deadline(self, proven_at: float) -> float:
        return self._policy.deadline(proven_at, _random.random())


@lru_cache(maxsize=256)
def _kek(uri: str, version: str) -> tuple[str, str]:
    """Return a KEK's version as one object in memory, however many DEKs it has proven."""
    return uri, version
