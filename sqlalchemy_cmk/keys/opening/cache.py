"""The opened DEKs of one process: a bounded cache whose entries expire and leave memory."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from math import inf

from sqlalchemy_cmk.keys.model import OpenedDek, Proof, Purpose
from sqlalchemy_cmk.runtime.alarm import Alarm, longest_sleep

# A key that is proven at every use (revalidate_after=0) must survive the moment between two uses.
LEAST_UNUSED = 1.0
# Seconds for a use to find its key that began when the key was due to leave.
A_MOMENT = 0.5

# The deadline of a DEK that was dropped.
NEVER = -inf


class OpenedKeys:
    """Opened DEKs by id, and the active one of each tenant and purpose.

    A DEK opens nothing once its deadline has passed, until its KEK has proven it again. It leaves memory when
    its deadline has passed and nobody has used it for ``keep_unused`` seconds, whether anybody asks or not.
    Until then it may be needed to ride out an outage; after its ``outage_grace`` it serves for nothing.

    A use takes no lock and moves nothing: it marks the DEK. To make room, DEKs that were used are passed over
    once, in turn, and the first that was not is dropped.

    Args:
        max_open: how many DEKs are kept; the least recently used is dropped first.
        clock: returns monotonic seconds.
        keep_unused: seconds after its last use for which a DEK is kept whose deadline has passed.

    Attributes:
        shut_out_now: the tenants that are locked, as far as this process has noticed: a DEK of theirs that
            was being opened meanwhile is not used.
    """

    def __init__(self, max_open: int, clock: Callable[[], float], keep_unused: float = inf) -> None:
        self.max_open = max_open
        self.hits = 0
        self._clock = clock
        self._keep_unused = max(keep_unused, LEAST_UNUSED)
        self._lock = threading.RLock()
        self._kept: OrderedDict[bytes, OpenedDek] = OrderedDict()
        self._active: dict[tuple[str, Purpose], bytes] = {}
        self.shut_out_now: frozenset[str] = frozenset()
        self._alarm = Alarm(self.sweep, clock, longest_sleep(clock))

    def __len__(self) -> int:
        return len(self._kept)

    def fresh(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK whose deadline has not passed."""
        dek = self._kept.get(dek_id)
        if dek is None:
            return None
        now = self._clock()
        if now >= dek.deadline:
            return None
        self.hits += 1
        dek.used_at = now
        dek.was_used = dek.used_since_proof = True
        return dek

    def stale(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK even if its deadline has passed. This is a use, as is :meth:`fresh`."""
        with self._lock:
            dek = self._kept.get(dek_id)
            if dek is None:
                return None
            dek.used_at = self._clock()
            dek.was_used = True
            dek.overdue = False
            return dek

    def peek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK. This is no use of it."""
        return self._kept.get(dek_id)

    def is_used(self, dek_id: bytes) -> bool:
        """Return whether a DEK is open and was used since its last proof; after a fork, in this process."""
        dek = self._kept.get(dek_id)
        return dek is not None and dek.used_since_proof

    def fresh_active(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the tenant's active DEK if it is open and its deadline has not passed."""
        dek_id = self._active.get((tenant, purpose))
        return self.fresh(dek_id) if dek_id else None

    def stale_active(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the tenant's active DEK if it is open, even if its deadline has passed."""
        dek_id = self._active.get((tenant, purpose))
        return self.stale(dek_id) if dek_id else None

    def put(self, dek: OpenedDek) -> None:
        """Cache an opened DEK; the least recently used are dropped to make room."""
        with self._lock:
            dek.used_at = self._clock()
            if dek.id not in self._kept and len(self._kept) >= self.max_open:
                self._make_room()
            self._kept[dek.id] = dek
            self._alarm.set(self._leaves_at(dek))

    @contextmanager
    def in_question(self, dek: OpenedDek | None) -> Iterator[None]:
        """Keep a DEK in memory while its KEK is asked: it is needed if that cannot be reached."""
        with self._lock:
            kept = None if dek is None else self._kept.get(dek.id)
            if kept is not None:
                kept.asked += 1
        try:
            yield
        finally:
            if kept is not None:
                with self._lock:
                    kept.asked -= 1
                    self._alarm.set(self._leaves_at(kept))

    def sweep(self) -> float | None:
        """Drop what has had to leave memory for a moment, and return when to look again.

        Returns:
            Seconds of the clock; ``None`` if there is nothing to wait for.
        """
        with self._lock:
            now, first = self._clock(), inf
            for dek in list(self._kept.values()):
                if dek.asked:
                    continue
                at = self._leaves_at(dek)
                if now > at and dek.overdue:
                    self._remove(dek)
                else:
                    dek.overdue = now > at
                    first = min(first, at)
            return None if first == inf else max(first, now + A_MOMENT)

    def activate(self, dek: OpenedDek) -> None:
        """Make this the DEK that seals the tenant's new values."""
        with self._lock:
            if dek.id in self._kept:
                self._active[dek.tenant, dek.purpose] = dek.id

    def deactivate(self, dek_id: bytes) -> None:
        """Stop sealing new values under this DEK, which was retired."""
        with self._lock:
            dek = self._kept.get(dek_id)
            if dek is not None and self._active.get((dek.tenant, dek.purpose)) == dek_id:
                del self._active[dek.tenant, dek.purpose]

    def active_ids(self) -> list[bytes]:
        """Return the ids of the DEKs that seal new values here."""
        with self._lock:
            return list(self._active.values())

    def renew(self, dek: OpenedDek, proven_at: float, deadline: float) -> None:
        """Move an opened DEK's deadline after a proof, or for an outage, unless it was dropped meanwhile."""
        with self._lock:
            if dek.deadline == NEVER:
                return
            if proven_at != dek.proven_at:
                dek.used_since_proof = False
            dek.rides_out = dek.rides_out and proven_at == dek.proven_at
            dek.proven_at = proven_at
            dek.deadline = deadline

    def renew_by(self, dek: OpenedDek, proof: Proof) -> bool:
        """Note a KEK's proof of an opened DEK; ``False`` if the DEK was dropped meanwhile."""
        with self._lock:
            if self._kept.get(dek.id) is not dek:
                return False
            if proof.at > dek.proven_at:
                self.renew(dek, proof.at, proof.deadline)
                dek.proven_by, dek.outage_grace = proof.by, proof.outage_grace
                dek.overdue = False
                self._alarm.set(self._leaves_at(dek))
            return True

    def forget(self, dek_id: bytes) -> None:
        """Drop one DEK."""
        with self._lock:
            dek = self._kept.get(dek_id)
            if dek is not None:
                self._shut(dek)

    def drop(self, tenant: str | None = None) -> None:
        """Drop the opened DEKs of a tenant, or all of them."""
        if tenant is not None:
            self.drop_all((tenant,))
            return
        with self._lock:
            for dek in list(self._kept.values()):
                self._shut(dek)

    def drop_all(self, tenants: Collection[str]) -> None:
        """Drop the opened DEKs of these tenants."""
        named = frozenset(tenants)
        with self._lock:
            for dek in [one for one in self._kept.values() if one.tenant in named]:
                self._shut(dek)

    def shut_out(self, tenants: frozenset[str]) -> None:
        """Drop the opened DEKs of these tenants, and let nobody use one that is opened from now on.

        Args:
            tenants: all tenants that are locked; one that is not among them any more is let in.
        """
        self.shut_out_now = tenants
        self.drop_all(tenants)

    def tenants(self) -> set[str]:
        """Return the tenants with opened DEKs."""
        with self._lock:
            return {one.tenant for one in self._kept.values()}

    def drop_unless_proven_since(self, moment: float) -> None:
        """Drop the opened DEKs whose last proof was before a moment of the clock."""
        with self._lock:
            for dek in [one for one in self._kept.values() if one.proven_at < moment]:
                self._shut(dek)

    def count(self) -> Counter[str]:
        """Return by tenant how many DEKs are open and within their deadline."""
        with self._lock:
            now = self._clock()
            return Counter(one.tenant for one in self._kept.values() if now < one.deadline)

    def close(self) -> None:
        """Drop every DEK and stop waiting for deadlines."""
        self.drop()
        self._alarm.close()

    def after_fork(self) -> None:
        """Replace what another thread may have held when the process was copied; go on dropping keys."""
        self._lock = threading.RLock()
        for dek in self._kept.values():
            dek.asked = 0
            dek.used_since_proof = False
        self._alarm.after_fork()

    def _leaves_at(self, dek: OpenedDek) -> float:
        """Return when a DEK leaves memory if nobody uses it before."""
        ridden_out = min(dek.used_at + self._keep_unused, dek.proven_at + dek.outage_grace)
        return max(dek.deadline, ridden_out)

    def _make_room(self) -> None:
        """Remove the first DEK that was not used since it was passed over, or since it was opened."""
        for _ in range(len(self._kept)):
            dek = next(iter(self._kept.values()))
            if not dek.was_used:
                break
            dek.was_used = False
            self._kept.move_to_end(dek.id)
        self._remove(next(iter(self._kept.values())))

    def _shut(self, dek: OpenedDek) -> None:
        """Drop a DEK also for those who hold it: they have to ask for it again."""
        self._remove(dek)
        dek.deadline = NEVER

    def _remove(self, dek: OpenedDek) -> None:
        del self._kept[dek.id]
        if self._active.get((dek.tenant, dek.purpose)) == dek.id:
            del self._active[dek.tenant, dek.purpose]
