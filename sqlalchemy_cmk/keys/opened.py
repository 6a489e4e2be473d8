"""The opened keys of one process: a bounded LRU whose entries expire.

Columns keep fast tables of their own, from a value's first nine bytes to what opens it. An entry is in
a fast table only while its DEK is in here and proven: :meth:`OpenedKeys.sweep`, called before rows are
fetched and before values are bound, takes out what has expired.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Container
from typing import Protocol
from weakref import WeakSet

from sqlalchemy_cmk.keys.model import OpenedDek, Purpose


class FastTable(Protocol):
    """What a column keeps for speed, and has to give up when a DEK is dropped."""

    def drop_dek(self, dek: OpenedDek) -> None:
        """Forget everything made from this DEK."""


class OpenedKeys:
    """Opened DEKs by id, and which of them is active for a tenant and purpose.

    Args:
        max_open: how many DEKs are kept; the least recently used goes first.
        clock: seconds, monotonic.
    """

    def __init__(self, max_open: int, clock: Callable[[], float]) -> None:
        self.max_open = max_open
        self.hits = 0
        self._clock = clock
        self._lock = threading.RLock()
        self._deks: OrderedDict[bytes, OpenedDek] = OrderedDict()
        self._active: dict[tuple[str, Purpose], bytes] = {}
        self._columns: WeakSet[FastTable] = WeakSet()
        self._next_deadline = float("inf")

    def __len__(self) -> int:
        return len(self._deks)

    def fresh(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK whose deadline has not passed."""
        with self._lock:
            dek = self._deks.get(dek_id)
            if dek is None or self._clock() >= dek.deadline:
                return None
            self._deks.move_to_end(dek_id)
            self.hits += 1
            return dek

    def stale(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK though its deadline may have passed."""
        return self._deks.get(dek_id)

    def fresh_active(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the tenant's active DEK if it is open and proven."""
        dek_id = self._active.get((tenant, purpose))
        return self.fresh(dek_id) if dek_id else None

    def stale_active(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the tenant's active DEK though its deadline may have passed."""
        dek_id = self._active.get((tenant, purpose))
        return self._deks.get(dek_id) if dek_id else None

    def put(self, dek: OpenedDek) -> None:
        """Keep an opened DEK; the least recently used ones make room."""
        with self._lock:
            replaced = self._deks.get(dek.id)
            if replaced is not None and replaced is not dek:
                self._forget_in_columns(replaced)
            self._deks[dek.id] = dek
            self._deks.move_to_end(dek.id)
            self._next_deadline = min(self._next_deadline, dek.deadline)
            while len(self._deks) > self.max_open:
                self._drop(next(iter(self._deks.values())))

    def activate(self, dek: OpenedDek) -> None:
        """Note that new values of the tenant are sealed under this DEK."""
        with self._lock:
            before = self.stale_active(dek.tenant, dek.purpose)
            if before is not None and before is not dek:
                self._forget_in_columns(before)
            if dek.id in self._deks:
                self._active[dek.tenant, dek.purpose] = dek.id

    def deactivate(self, dek_id: bytes) -> None:
        """Note that new values are sealed under this DEK no more: it was retired."""
        with self._lock:
            dek = self._deks.get(dek_id)
            if dek is not None and self._active.get((dek.tenant, dek.purpose)) == dek_id:
                del self._active[dek.tenant, dek.purpose]
                self._forget_in_columns(dek)

    def keep_active(self, dek_ids: Container[bytes]) -> None:
        """Note that of the DEKs held for active these alone are, as the key tables say."""
        with self._lock:
            for dek_id in [one for one in self._active.values() if one not in dek_ids]:
                self.deactivate(dek_id)

    def renew(self, dek: OpenedDek, proven_at: float, deadline: float) -> None:
        """Let an open DEK serve until a later deadline."""
        with self._lock:
            dek.proven_at = proven_at
            dek.deadline = deadline
            self._next_deadline = min(self._next_deadline, deadline)

    def drop(self, tenant: str | None = None) -> None:
        """Drop the opened DEKs of a tenant, or of all."""
        with self._lock:
            for dek in [one for one in self._deks.values() if tenant is None or one.tenant == tenant]:
                self._drop(dek)

    def count(self, tenant: str) -> int:
        """Return how many DEKs of a tenant are open and proven."""
        with self._lock:
            now = self._clock()
            return sum(dek.tenant == tenant and now < dek.deadline for dek in self._deks.values())

    def remember(self, column: FastTable, dek: OpenedDek, add: Callable[[], None]) -> None:
        """Let a column put a DEK into its fast tables, unless the DEK was dropped meanwhile."""
        with self._lock:
            if self._deks.get(dek.id) is dek and self._clock() < dek.deadline:
                self._columns.add(column)
                add()

    def sweep(self) -> None:
        """Take expired DEKs out of the fast tables, so that their next use proves them anew."""
        if self._clock() < self._next_deadline:
            return
        with self._lock:
            now = self._clock()
            for dek in self._deks.values():
                if now >= dek.deadline:
                    self._forget_in_columns(dek)
            self._next_deadline = min(
                (dek.deadline for dek in self._deks.values() if dek.deadline > now), default=float("inf")
            )

    def after_fork(self) -> None:
        """Replace the lock: another thread may have held it when the process was copied."""
        self._lock = threading.RLock()

    def _drop(self, dek: OpenedDek) -> None:
        del self._deks[dek.id]
        if self._active.get((dek.tenant, dek.purpose)) == dek.id:
            del self._active[dek.tenant, dek.purpose]
        self._forget_in_columns(dek)

    def _forget_in_columns(self, dek: OpenedDek) -> None:
        for column in list(self._columns):
            column.drop_dek(dek)
