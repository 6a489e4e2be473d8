"""Opens DEKs: proven by their KEK, proven again in time, usable during an outage, dropped when refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future

from sqlalchemy_cmk.errors import CmkError, KeyUnavailable
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.cache import OpenedKeys
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.opening.flows import done, failed, result_of
from sqlalchemy_cmk.keys.opening.maker import Maker
from sqlalchemy_cmk.keys.opening.opening import Opening
from sqlalchemy_cmk.keys.opening.prover import Prover, Stored
from sqlalchemy_cmk.keys.opening.questions import Answers, Question
from sqlalchemy_cmk.keys.opening.revocation_cache import RevocationCache
from sqlalchemy_cmk.keys.opening.single_flight import Land, SingleFlight
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.database import waits_for_lock
from sqlalchemy_cmk.keys.storage.store import KeyStore

ATTEMPTS = 3


class Opener:
    """Opens stored DEKs and caches them for a bounded time; makes those that are needed and do not exist.

    Args:
        policy: how long opened DEKs stay usable.
        store: stores DEKs.
        opened: the cache of opened DEKs.
        prover: has them proven.
        maker: makes DEKs.
        audit: records outages that are ridden out.
        clock: returns monotonic seconds.

    Attributes:
        store, opened, prover, maker: as given.
        revocations: the refusals of a moment ago.
    """

    def __init__(
        self,
        policy: CachePolicy,
        store: KeyStore,
        opened: OpenedKeys,
        prover: Prover,
        maker: Maker,
        audit: AuditTrail,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self.store = store
        self.opened = opened
        self.prover = prover
        self.maker = maker
        self._audit = audit
        self._clock = clock
        self._flights = SingleFlight()
        self.revocations = RevocationCache(policy.retry_after, policy.lock_check, clock)

    def open_all(self, questions: Iterable[Question]) -> Answers:
        """Return DEKs, opened side by side: each may be used now, whatever the others had to wait for.

        Returns:
            For each question, in their order, the opened DEK, ``None`` if there is none, or why it is not
            open.
        """
        found: Answers = {}
        cached: dict[Question, OpenedDek] = {}
        left = list(dict.fromkeys(questions))
        order = dict.fromkeys(left)
        for _ in range(ATTEMPTS):
            for question in left:
                fresh = self.fresh(question)
                if fresh is not None:
                    cached[question] = fresh
            asked = [one for one in left if one not in cached]
            self._ask(asked, found)
            late = [one for one, answer in found.items() if not self._is_in_time(answer)]
            # The deadlines of those that were open are looked at after the waiting.
            late += [one for one, dek in cached.items() if self._has_expired(dek)]
            if not late:
                break
            for one in late:
                cached.pop(one, None)
                found.pop(one, None)
            left = late
        else:
            error = KeyUnavailable("the answers of a KEK come too late to be used: try again")
            found |= dict.fromkeys(left, failed(error))
        return {one: done(cached[one]) if one in cached else found[one] for one in order}

    def refresh(self, dek_ids: Iterable[bytes]) -> list[bytes]:
        """Prove open DEKs again, whose deadline has not passed: nobody waits for this.

        A KEK that refuses shuts its tenant at once. Any other error is for those who need the DEK after its
        deadline.

        Returns:
            The DEKs whose KEK, or the key tables, could not be reached.
        """
        asked = [one for one in dek_ids if self.revocations.refusal(one) is None]
        try:
            found = self.store.keys_with_all(asked)
        except KeyUnavailable:
            return asked
        except CmkError:
            return []
        wanted: dict[bytes, Stored] = {}
        for dek_id, keys in found.items():
            record = keys.dek(dek_id) if isinstance(keys, TenantKeys) else None
            if isinstance(keys, TenantKeys) and record is not None and self.opened.peek(dek_id) is not None:
                wanted[dek_id] = keys, record
        unreached: list[bytes] = []

        def landed(dek_id: bytes, answer: Future[OpenedDek]) -> None:
            error = answer.exception()
            self.revocations.note(dek_id, error)
            if isinstance(error, KeyUnavailable):
                unreached.append(dek_id)

        self.prover.prove_all(wanted, landed, ahead=True)
        return unreached

    def forget(self, tenant: str | None = None) -> None:
        """Drop the opened DEKs and the cached refusals of a tenant, or all of them."""
        self.opened.drop(tenant)
        self.revocations.forget(tenant)

    def forget_all(self, tenants: Collection[str]) -> None:
        """Drop the opened DEKs and the cached refusals of these tenants."""
        self.opened.drop_all(tenants)
        self.revocations.forget_all(tenants)

    def after_fork(self) -> None:
        """Forget the calls of the parent's threads, which do not run in the child."""
        self._flights.after_fork()
        self.prover.after_fork()

    def _ask(self, questions: list[Question], found: Answers) -> None:
        """Put the answers to questions into ``found``; callers that ask the same at the same time share one.

        One that waits for the lock of the key tables does not share the answer of one that does not.
        """
        waits = waits_for_lock()

        def find(left: list[tuple[Question, bool]], land: Land[tuple[Question, bool]]) -> None:
            self._find([one for one, _ in left], lambda one, answer: land((one, waits), answer))

        self._flights.do_all(
            [(one, waits) for one in questions],
            find,
            lambda key: self._meanwhile(key[0]),
            lambda key, answer: found.__setitem__(key[0], answer),
        )

    def _has_expired(self, dek: OpenedDek) -> bool:
        return self._clock() >= dek.deadline

    def _is_in_time(self, answer: Future[OpenedDek | None]) -> bool:
        dek = result_of(answer)
        return dek is None or self.prover.is_in_time(dek)

    def fresh(self, question: Question) -> OpenedDek | None:
        """Return an opened DEK whose deadline has not passed."""
        if isinstance(question, bytes):
            return self.opened.fresh(question)
        return self.opened.fresh_active(question.tenant, question.purpose)

    def stale(self, question: Question) -> OpenedDek | None:
        """Return an opened DEK even if its deadline has passed."""
        if isinstance(question, bytes):
            return self.opened.stale(question)
        return self.opened.stale_active(question.tenant, question.purpose)

    def _meanwhile(self, question: Question) -> OpenedDek | None:
        return self.prover.stale_during_outage(self.stale(question))

    def _find(self, questions: list[Question], land: Land[Question]) -> None:
        left = []
        for one in questions:
            refusal, fresh = self.revocations.refusal(one), self.fresh(one)
            if refusal is not None:
                land(one, failed(refusal))
            elif fresh is not None:
                land(one, done(fresh))
            else:
                left.append(one)
        if left:
            with Opening(self, left, land) as opening:
                opening.open()

    def within_grace(self, stale: OpenedDek | None, error: KeyUnavailable) -> OpenedDek | None:
        """Return an opened DEK whose KEK cannot be reached while its grace lasts; otherwise it is dropped."""
        now = self._clock()
        if stale is None:
            return None
        if now >= stale.proven_at + stale.outage_grace:
            self.opened.drop(stale.tenant)
            return None
        self._ride_out(stale, now, type(error).__name__)
        return stale

    def _ride_out(self, dek: OpenedDek, now: float, reason: str) -> None:
        """Use a DEK past its deadline; the audit trail records when that begins."""
        if not dek.rides_out:
            dek.rides_out = True
            detail = f"{reason}: in use for at most {dek.outage_grace:g} s from its last proof"
            self._audit.soon(AuditEvent(EventKind.RIDE_OUT, dek.tenant, dek.id.hex(), *dek.proven_by, detail))
        until = min(now + self._policy.retry_after, dek.proven_at + dek.outage_grace)
        self.opened.renew(dek, dek.proven_at, until)
