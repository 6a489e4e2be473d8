"""The check of a whole trail: its links, its MACs, its end, and what was noted outside of it.

What a writer to the database can do, and what finds it:

- a row is changed, removed, exchanged or put in: its hash, its link, or its MAC;
- rows are added after the last, or the last are removed: the head, which has a MAC of its own;
- MACs are taken off: a row without one, under a record key, is a problem;
- everything is rewritten: nothing in it has a MAC that the record key made;
- everything is deleted: tenants whose keys have changed have no row;
- a tenant's keys are put back to an older state: the epochs that the rows of their changes have;
- an older trail is put back with its head: heads that were kept outside, or a process that has seen more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy_cmk.keys.audit import problems as flaws
from sqlalchemy_cmk.keys.audit.authentication import Authenticity, Checker
from sqlalchemy_cmk.keys.audit.chain import BEGINNING, AuditEntry, AuditHead
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.heads import Heads
from sqlalchemy_cmk.keys.audit.problems import Problems

_NAMED = 5
_OF_THE_TRAIL = (EventKind.TRAIL_BROKEN, EventKind.TRAIL_ADOPTED)


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of a verification.

    Attributes:
        rows: how many rows were read.
        head: the last row's hash.
        authenticated: whether the rows were checked under a record key; otherwise anyone who can write to the
            database can write a trail that holds.
        problems: one sentence for each problem; empty if there is none.
    """

    rows: int
    head: str
    authenticated: bool
    problems: tuple[str, ...]


class Verification:
    """Checks the rows of a trail in order, and then its end.

    Args:
        checker: checks MACs; ``None`` without record keys.
        heads: heads that were noted earlier; ``None`` to skip this check.
    """

    def __init__(self, checker: Checker | None, heads: Heads | None) -> None:
        self._checker = checker
        self._heads = heads
        self._problems = Problems()
        self._rows = 0
        self._seq = 0
        self._hash = BEGINNING
        self._waiting: list[int] = []  # rows of unknown keys, until a later row vouches for them
        self._tenants: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._change: tuple[str, int] | None = None  # the tenant and the epoch of the row before
        self._noted = heads is None or heads.seq == 0

    def row(self, entry: AuditEntry) -> None:
        """Check the next row."""
        self._rows += 1
        if entry.event not in _OF_THE_TRAIL:
            self._tenants.add(entry.tenant)
        if not isinstance(entry.seq, int) or entry.seq <= self._seq:
            self._problems.say(f"row {entry.seq!r} stands where no row belongs")
            return
        if entry.seq != self._seq + 1:
            self._problems.rows(self._seq + 1, entry.seq - 1, flaws.REMOVED)
        elif entry.previous != self._hash:
            self._problems.row(entry.seq, flaws.UNLINKED)
        if entry.computed_hash() != entry.hash:
            self._problems.row(entry.seq, flaws.CHANGED)
        if self._checker is not None:
            self._authenticate(entry, self._checker.row(entry))
        if entry.event == EventKind.TRAIL_BROKEN:
            self._problems.row(entry.seq, flaws.BROKEN)
        self._follow(entry)
        self._seq, self._hash = entry.seq, entry.hash
        if self._heads is not None and entry.seq == self._heads.seq:
            self._noted = entry.hash == self._heads.hash

    def end(self, head: AuditHead | None, beyond: int, seen: int) -> None:
        """Check where the trail ends.

        Args:
            head: the head as it is stored; ``None`` if there is none.
            beyond: how many rows have a number past the head's.
            seen: the number of the last row that this process has written or seen.
        """
        for seq in self._waiting:
            self._problems.row(seq, flaws.UNCOVERED)
        stored = head or AuditHead()
        if beyond:
            self._problems.say(f"{beyond} rows were added past the end of the trail, row {stored.seq}")
        if head is None and (self._rows or beyond):
            self._problems.say("the head of the trail was removed")
        elif self._seq < stored.seq:
            self._problems.say(f"rows {self._seq + 1} to {stored.seq} were removed from the end")
        elif (self._seq, self._hash) != (stored.seq, stored.hash):
            self._problems.say("the end of the trail is not the one that was written")
        if head is not None and self._checker is not None:
            self._judge_head(self._checker.head(head))
        if stored.seq < seen:
            self._problems.say(
                f"the trail was cut back: this process has seen row {seen}, and it ends at row {stored.seq}"
            )

    def tenants(self, epochs: Mapping[str, int], later: Mapping[str, int]) -> None:
        """Check that every tenant whose keys have changed is in the trail, and its keys as new as the trail.

        Args:
            epochs: by tenant, how often its keys had changed before the trail was read.
            later: the same after the trail was read.
        """
        gone = sorted(one for one in self._epochs if one not in later)
        if gone:
            self._problems.say(f"the trail has changes of keys of {_names(gone)}, of which nothing is left")
        older = sorted(one for one, epoch in self._epochs.items() if later.get(one, epoch) < epoch)
        if older:
            self._problems.say(
                f"keys are older than the trail says, an old copy was put back: {_names(older)}"
            )
        lost = sorted(one for one, epoch in epochs.items() if epoch and one not in self._tenants)
        if lost:
            self._problems.say(f"rows were removed: the trail holds nothing about {_names(lost)}")

    def noted(self, epochs: Mapping[str, int]) -> None:
        """Compare with the heads that were noted earlier.

        Args:
            epochs: by tenant, how often its keys have changed.
        """
        heads = self._heads
        if heads is None:
            return
        if self._checker is not None:
            self._judge_heads(heads.authenticity(self._checker), heads.key_id)
        if not self._noted:
            was = "it was cut back" if self._seq < heads.seq else "it was rewritten"
            self._problems.say(f"row {heads.seq} is not the one that was noted at {heads.at!r}: {was}")
        lost = sorted(one for one in heads.epochs if one not in epochs)
        if lost:
            self._problems.say(f"the heads name {_names(lost)}, of which the database holds nothing now")
        older = sorted(one for one, epoch in heads.epochs.items() if epochs.get(one, epoch) < epoch)
        if older:
            self._problems.say(f"keys were put back to an older state: {_names(older)}")

    def verdict(self) -> AuditVerdict:
        """Return what was found."""
        return AuditVerdict(self._rows, self._hash, self._checker is not None, self._problems.sentences())

    def _follow(self, entry: AuditEntry) -> None:
        change, self._change = self._change, None
        if not isinstance(entry.epoch, int) or entry.epoch <= 0:
            return
        self._change = entry.tenant, entry.epoch
        # Rows of one change stand beside each other and have one epoch.
        if entry.epoch <= self._epochs.get(entry.tenant, 0) and change != self._change:
            self._problems.row(entry.seq, flaws.WENT_BACK)
        self._epochs[entry.tenant] = entry.epoch

    def _authenticate(self, entry: AuditEntry, authenticity: Authenticity) -> None:
        if authenticity is Authenticity.AUTHENTIC:
            # Its MAC covers its hash, and so every row before it: the key's holder chained it to them.
            self._waiting.clear()
            if entry.event == EventKind.TRAIL_ADOPTED:
                self._problems.forgive(flaws.UNAUTHENTICATED, flaws.BROKEN, flaws.WENT_BACK)
        elif authenticity is Authenticity.UNKNOWN_KEY:
            self._waiting.append(entry.seq)
        elif authenticity is Authenticity.ABSENT:
            self._problems.row(entry.seq, flaws.UNAUTHENTICATED)
        else:
            self._problems.row(entry.seq, flaws.FORGED)

    def _judge_head(self, authenticity: Authenticity) -> None:
        if authenticity is not Authenticity.AUTHENTIC:
            self._problems.say(f"the head of the trail is not authentic: {DOUBTS[authenticity]}")

    def _judge_heads(self, authenticity: Authenticity, key_id: str) -> None:
        if authenticity is Authenticity.FORGED:
            self._problems.say("the heads that were noted have been altered since")
        elif authenticity is Authenticity.ABSENT:
            self._problems.say("the heads that were noted are not authenticated: note them again")
        elif authenticity is Authenticity.UNKNOWN_KEY:
            self._problems.say(
                f"the heads were noted under the record key {key_id!r}, which is not known here: note them "
                "again whenever that key was rotated"
            )


DOUBTS = {
    Authenticity.ABSENT: "it has no MAC",
    Authenticity.FORGED: "the record key did not make its MAC",
    Authenticity.UNKNOWN_KEY: "it names a record key that is not known here",
}


def _names(tenants: Iterable[str]) -> str:
    names = [repr(one) for one in tenants]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ("tenant " if len(names) == 1 else "tenants ") + ", ".join(names[:_NAMED]) + more
